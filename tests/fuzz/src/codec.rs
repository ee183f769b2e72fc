//! What holds for every object that a codec lets in: it is canonical, and every form of it is read as
//! the same object again.

use skep_api::codec::{self, Decoded, FieldValidation, Media};
use skep_api::names::GroupVersionKind;
use skep_api::registry::{Resource, builtin};
use skep_api::schema::builtin_types;

/// Objects of everyday use, in YAML, for seeds.
const MANIFESTS: &[&str] = &[
    include_str!("../../cluster/manifests/probes.yaml"),
    include_str!("../../cluster/manifests/proof.yaml"),
    include_str!("../../cluster/manifests/volumes.yaml"),
];

/// Every resource there is.
pub(crate) fn resources() -> impl Iterator<Item = &'static Resource> {
    let versions = builtin().groups().iter().flat_map(|group| &group.versions);
    versions.flat_map(|version| &version.resources)
}

/// Decodes the bytes as an object of `default`, unless they say another kind.
pub(crate) fn holds(bytes: &[u8], media: Media, default: Option<&GroupVersionKind>) {
    let Ok(decoded) = codec::decode(bytes, media, default, FieldValidation::Warn) else { return };
    let Decoded { gvk, object, .. } = decoded;
    for media in [Media::Json, Media::Protobuf] {
        let written = codec::encode(&object, &gvk, media);
        let read = codec::decode(&written, media, None, FieldValidation::Strict);
        let read = read.unwrap_or_else(|error| panic!("{gvk} as {media:?}: {error}\n{object}"));
        assert_eq!(read.object, object, "{gvk} as {media:?}");
    }
}

/// The manifests in one form.
pub(crate) fn manifests(media: Media) -> Vec<Vec<u8>> {
    let documents = MANIFESTS.iter().flat_map(|text| text.split("\n---\n"));
    let objects = documents.map(|text| {
        codec::decode(text.as_bytes(), Media::Yaml, None, FieldValidation::Strict)
            .unwrap_or_else(|error| panic!("a manifest of the tests: {error}\n{text}"))
    });
    objects.map(|Decoded { gvk, object, .. }| codec::encode(&object, &gvk, media)).collect()
}

/// The names of all fields.
pub(crate) fn field_names() -> Vec<String> {
    let fields = builtin_types().iter().flat_map(|ty| &ty.fields);
    let mut names: Vec<String> = fields.map(|field| field.name.to_string()).collect();
    names.sort();
    names.dedup();
    names
}
