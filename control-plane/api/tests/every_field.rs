//! Upstream's round-trip data: of every kind one object in which every field is set, as JSON and as
//! protobuf. `cargo xtask codegen` takes it over.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skep_api::codec::{self, FieldValidation, Media, storage};

/// Name, JSON, protobuf.
fn cases() -> Vec<(String, Value, Vec<u8>)> {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("every_field.gz");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    let cases: Vec<_> = text
        .lines()
        .map(|line| {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().expect("three cells");
            let (name, json, protobuf) = (cell(), cell(), cell());
            let json = serde_json::from_str(json).expect("JSON");
            (name.to_owned(), json, STANDARD.decode(protobuf).expect("base64"))
        })
        .collect();
    assert!(cases.len() > 100);
    cases
}

#[test]
fn every_field_of_every_kind_is_known() {
    for (name, json, protobuf) in cases() {
        let bytes = json.to_string();
        let decoded = codec::decode(bytes.as_bytes(), Media::Json, None, FieldValidation::Strict);
        let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = codec::encode(&decoded.object, &decoded.gvk, Media::Json);
        let written: Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(written, json, "{name} as JSON");
        let (gvk, mut stored) =
            storage::decode(&protobuf).unwrap_or_else(|error| panic!("{name}: {error}"));
        if gvk.kind == "StatefulSet" {
            // The recorded claims have no names of their own kind, which the store gives them.
            for field in ["apiVersion", "kind"] {
                let claim = stored
                    .pointer_mut("/spec/volumeClaimTemplates/0")
                    .and_then(Value::as_object_mut);
                claim.expect("a claim").remove(field);
            }
        }
        assert_eq!(stored, decoded.object, "{name} as protobuf");
        if gvk.kind != "StatefulSet" {
            let (_, again) =
                storage::decode(&codec::encode(&decoded.object, &gvk, Media::Protobuf))
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(again, decoded.object, "{name} there and back");
        }
    }
}
