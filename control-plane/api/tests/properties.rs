//! Properties of the codecs: what is written is read again, in every form, and no bytes make a reader
//! panic.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use skep_api::codec::{self, FieldValidation, Media};
use skep_api::names::GroupVersionKind;
use skep_api::registry::{Resource, builtin};
use skep_api::schema::{Shape, Type};

/// Every resource that can be written.
fn resources() -> Vec<Resource> {
    let versions = builtin().groups().iter().flat_map(|group| &group.versions);
    versions.flat_map(|version| version.resources.clone()).collect()
}

/// Makes a value of a shape out of random bytes: the same bytes make the same value.
struct Maker<'a> {
    entropy: &'a [u8],
}

impl Maker<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) =
            self.entropy.split_first().map_or((0, self.entropy), |(first, rest)| (*first, rest));
        self.entropy = rest;
        first
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()]
    }

    fn object(&mut self, ty: &Type, depth: usize) -> Value {
        let mut map = Map::new();
        for field in ty.fields.iter().filter(|field| field.number != 0) {
            if !self.entropy.is_empty() && self.next().is_multiple_of(3) {
                map.insert(field.name.to_string(), self.value(&field.shape, depth));
            }
        }
        Value::Object(map)
    }

    fn value(&mut self, shape: &Shape, depth: usize) -> Value {
        match shape {
            Shape::String => {
                self.pick(&["", "a", "ü\"\\\u{1}<", "a much longer text than the others"]).into()
            }
            Shape::Bool | Shape::SchemaOrBool => self.next().is_multiple_of(2).into(),
            Shape::Int32 => self.pick(&[0, 1, -1, i32::MAX, i32::MIN]).into(),
            Shape::Int64 => self.pick(&[0, 1, -1, i64::MAX, i64::MIN]).into(),
            Shape::Double => self.pick(&[0.5, -1e300]).into(),
            Shape::Bytes => self.pick(&["", "AA==", "//79"]).into(),
            Shape::Quantity => self.pick(&["0", "1", "100m", "1.5Gi", "1e3", "-2", "1n"]).into(),
            Shape::Time => self.pick(&["2026-11-21T06:27:00Z", "1969-12-31T23:59:59Z"]).into(),
            Shape::MicroTime => {
                self.pick(&["2026-11-21T06:27:00.000000Z", "2026-11-21T06:27:00.123456Z"]).into()
            }
            Shape::Duration => self.pick(&["0s", "1h30m", "-1.5s"]).into(),
            Shape::IntOrString => {
                self.pick(&[json!(0), json!(-7), json!(""), json!("50%")].each_ref()).clone()
            }
            Shape::Raw | Shape::Json | Shape::Fields => {
                self.pick(&[json!({ "a": [1, null, "x"] }), json!({})].each_ref()).clone()
            }
            Shape::SchemaOrArray | Shape::SchemaOrStrings => json!({ "type": "object" }),
            Shape::Object(_) if depth == 0 => json!({}),
            Shape::Object(ty) => self.object(ty, depth - 1),
            Shape::List(inner) | Shape::WrappedList(inner) => {
                (0..self.next() % 3).map(|_| self.value(inner, depth)).collect()
            }
            Shape::Map(inner) => (0..self.next() % 3)
                .map(|index| (format!("k{index}"), self.value(inner, depth)))
                .collect(),
        }
    }
}

fn object_of(resource: &Resource, entropy: &[u8]) -> (GroupVersionKind, Value) {
    let gvk = resource.gvk();
    let ty = builtin().kind(&gvk).expect("every resource has a type");
    let mut object = Maker { entropy }.object(&ty, 6);
    codec::canonicalize(&mut object, &ty).expect("it was made to fit");
    codec::stamp(&mut object, &gvk);
    (gvk, object)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(which in any::<prop::sample::Index>(), entropy in prop::collection::vec(any::<u8>(), 0..600)) {
        let resources = resources();
        let (gvk, object) = object_of(which.get(&resources), &entropy);
        for media in [Media::Json, Media::Protobuf] {
            let bytes = codec::encode(&object, &gvk, media);
            let read = codec::decode(&bytes, media, None, FieldValidation::Strict);
            let read = read.map_err(|error| TestCaseError::fail(format!("{gvk} {media:?}: {error}")))?;
            prop_assert_eq!(&read.object, &object, "{} as {:?}", gvk, media);
        }
    }

    #[test]
    fn canonical_is_canonical(which in any::<prop::sample::Index>(), entropy in prop::collection::vec(any::<u8>(), 0..600)) {
        let resources = resources();
        let (gvk, object) = object_of(which.get(&resources), &entropy);
        let mut again = object.clone();
        codec::canonicalize(&mut again, &builtin().kind(&gvk).expect("a type")).expect("it fits");
        prop_assert_eq!(again, object);
    }

    #[test]
    fn damaged_protobuf_is_refused_or_read(
        which in any::<prop::sample::Index>(),
        entropy in prop::collection::vec(any::<u8>(), 0..300),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let resources = resources();
        let (gvk, object) = object_of(which.get(&resources), &entropy);
        let mut bytes = codec::encode(&object, &gvk, Media::Protobuf);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        // Whatever comes out, it comes back: no panic, no endless loop.
        drop(codec::decode(&bytes, Media::Protobuf, Some(&gvk), FieldValidation::Ignore));
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let pod = GroupVersionKind::new("", "v1", "Pod");
        for media in [Media::Json, Media::Yaml] {
            drop(codec::decode(&bytes, media, Some(&pod), FieldValidation::Strict));
        }
        let enveloped = codec::wrap_envelope(&pod, &bytes);
        drop(codec::decode(&enveloped, Media::Protobuf, None, FieldValidation::Strict));
    }
}
