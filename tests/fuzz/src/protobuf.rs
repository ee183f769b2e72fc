//! Target `protobuf`: request bodies in protobuf. The first two bytes choose a kind, the rest is its
//! message; bytes that begin as an envelope are taken as they are.

use skep_api::codec::{self as api, ENVELOPE_MAGIC, Media};

use crate::{Target, codec};

pub(crate) const TARGET: Target = Target { name: "protobuf", run, seeds, words: Vec::new };

fn run(bytes: &[u8]) {
    if bytes.starts_with(ENVELOPE_MAGIC) {
        codec::holds(bytes, Media::Protobuf, None);
    } else if let Some((choice, message)) = bytes.split_first_chunk() {
        let resources: Vec<_> = codec::resources().collect();
        let gvk = resources[usize::from(u16::from_le_bytes(*choice)) % resources.len()].gvk();
        codec::holds(&api::wrap_envelope(&gvk, message), Media::Protobuf, None);
    }
}

/// Everyday objects in their envelopes, and the least of every kind.
fn seeds() -> Vec<Vec<u8>> {
    // Field 1, metadata, of 3 bytes: its field 1, name, is "a".
    let named = [0x0a, 3, 0x0a, 1, b'a'];
    let mut seeds = codec::manifests(Media::Protobuf);
    let count = codec::resources().count() as u16;
    seeds.extend((0..count).map(|choice| [&choice.to_le_bytes()[..], &named].concat()));
    seeds
}
