//! Target `json`: request bodies in JSON.

use skep_api::codec::Media;

use crate::{Target, codec};

pub(crate) const TARGET: Target = Target { name: "json", run, seeds, words: codec::field_names };

fn run(bytes: &[u8]) {
    codec::holds(bytes, Media::Json, None);
}

/// Everyday objects, and the least of every kind.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = codec::manifests(Media::Json);
    seeds.extend(codec::resources().map(|resource| {
        let gvk = resource.gvk();
        let (version, kind) = (gvk.api_version(), gvk.kind);
        format!(
            r#"{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"name":"a"}},"spec":{{}}}}"#
        )
        .into_bytes()
    }));
    seeds
}
