//! Objects of many kinds as kube-apiserver 1.37.1 takes them, keeps them and answers them: `input` was
//! sent, `json` and `protobuf` are the answers to two GETs of what it became.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skep_api::codec::{self, Decoded, FieldValidation, Media, storage};
use skep_api::names::GroupVersionKind;
use skep_api::{Object, builtin, defaults, strategy, validate};

struct Case {
    name: String,
    input: String,
    json: String,
    protobuf: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/objects");
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .expect("the folder of recorded objects")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let tree: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
            let text = |field: &str| tree[field].as_str().expect(field).to_owned();
            Case {
                name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
                input: tree["input"].to_string(),
                json: text("json"),
                protobuf: STANDARD.decode(text("protobuf")).expect("base64"),
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 50);
    cases
}

fn decode(bytes: &[u8], media: Media, name: &str) -> Decoded {
    codec::decode(bytes, media, None, FieldValidation::Strict)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn json_is_written_as_upstream_writes_it() {
    for case in cases() {
        let decoded = decode(case.json.as_bytes(), Media::Json, &case.name);
        let ours = codec::encode(&decoded.object, &decoded.gvk, Media::Json);
        // Go escapes three characters that JSON does not require to be escaped.
        let upstream =
            case.json.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&");
        assert_eq!(String::from_utf8_lossy(&ours).trim(), upstream.trim(), "{}", case.name);
    }
}

#[test]
fn protobuf_is_read_as_upstream_writes_it() {
    for case in cases() {
        let (gvk, object) = storage::decode(&case.protobuf)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let from_json = decode(case.json.as_bytes(), Media::Json, &case.name);
        assert_eq!(object, from_json.object, "{}", case.name);
        assert_eq!(gvk, from_json.gvk);
    }
}

#[test]
fn every_form_round_trips() {
    for case in cases() {
        let Decoded { gvk, object, .. } = decode(case.json.as_bytes(), Media::Json, &case.name);
        for media in [Media::Json, Media::Yaml] {
            let again = decode(&codec::encode(&object, &gvk, media), media, &case.name);
            assert_eq!(again.object, object, "{} as {media:?}", case.name);
        }
        let (stored_gvk, stored) =
            storage::decode(&storage::encode(&object, &gvk)).expect("what was just stored");
        assert_eq!((stored_gvk, stored), (gvk, object), "{} in the store", case.name);
    }
}

#[test]
fn defaults_are_upstreams() {
    let mut differences = Vec::new();
    for case in cases() {
        let upstream = decode(case.json.as_bytes(), Media::Json, &case.name).object;
        let Decoded { gvk, mut object, .. } =
            decode(case.input.as_bytes(), Media::Json, &case.name);
        defaults::apply(&gvk, &mut object);
        let once = object.clone();
        defaults::apply(&gvk, &mut object);
        assert_eq!(object, once, "{}: defaulting twice", case.name);
        let now = "2026-11-21T06:27:00Z".parse().expect("a time");
        object["metadata"]["uid"] = upstream["metadata"]["uid"].clone();
        strategy::prepare_create(&gvk, &mut object, now);
        let (mut ours, mut theirs) = (object, upstream);
        for object in [&mut ours, &mut theirs] {
            forget_what_the_server_adds(&gvk, object);
        }
        differ(&case.name, &ours, &theirs, &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Names the places where two trees differ.
fn differ(path: &str, ours: &Value, theirs: &Value, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                differ(&format!("{path}.{key}"), &ours[key], &theirs[key], differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}[{index}]"), a, b, differences);
            }
        }
        _ if ours == theirs => {}
        _ => differences.push(format!("{path}: ours {ours}, upstream's {theirs}")),
    }
}

#[test]
fn what_upstream_takes_is_valid() {
    for case in cases() {
        let Decoded { gvk, mut object, .. } =
            decode(case.input.as_bytes(), Media::Json, &case.name);
        defaults::apply(&gvk, &mut object);
        if builtin().resource_of_kind(&gvk).is_some_and(|resource| resource.namespaced) {
            object["metadata"]["namespace"] = "default".into();
        }
        assert_eq!(validate::create(&gvk, &object), [], "{}", case.name);
    }
}

/// Identity and time, what admission adds, what allocators give: none of it is a default.
fn forget_what_the_server_adds(gvk: &GroupVersionKind, object: &mut Object) {
    let mut forget = |parent: &str, fields: &[&str]| {
        if let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.iter().for_each(|field| drop(map.remove(*field)));
        }
    };
    forget(
        "/metadata",
        &["uid", "creationTimestamp", "resourceVersion", "managedFields", "namespace"],
    );
    match gvk.kind.as_ref() {
        // Controllers inside the server are quick to write these.
        "APIService" | "CustomResourceDefinition" | "FlowSchema" => forget("", &["status"]),
        "CertificateSigningRequest" => forget("/spec", &["username", "groups", "extra"]),
        "Node" => forget("/spec", &["taints"]),
        "PersistentVolume" => {
            forget("/metadata", &["finalizers"]);
            forget("/status", &["lastPhaseTransitionTime"]);
        }
        "PersistentVolumeClaim" => forget("/metadata", &["finalizers"]),
        "Pod" => {
            let admitted = ["serviceAccount", "serviceAccountName", "priority", "preemptionPolicy"];
            forget("/spec", &admitted);
            forget("/status/conditions/0", &["lastTransitionTime"]);
        }
        "Service" => {
            forget("/spec", &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
            forget("/spec/ports/0", &["nodePort"]);
            forget("/spec/ports/1", &["nodePort"]);
        }
        _ => {}
    }
}
