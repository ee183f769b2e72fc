//! Watch events: one line of JSON each, or a length and a message in an envelope.

use serde_json::json;

use crate::names::GroupVersionKind;

use super::protobuf::{put_bytes, put_nested};
use super::{Media, encode, wrap_envelope};

/// One frame of a watch stream: `kind` is `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`, `object`
/// what [`encode`] gave for the same media type. YAML is not streamed: it is answered with JSON.
pub fn watch_event(media: Media, kind: &str, object: &[u8]) -> Vec<u8> {
    if media != Media::Protobuf {
        let mut frame = Vec::with_capacity(object.len() + 40);
        frame.extend_from_slice(b"{\"type\":\"");
        frame.extend_from_slice(kind.as_bytes());
        frame.extend_from_slice(b"\",\"object\":");
        frame.extend_from_slice(object.trim_ascii_end());
        frame.extend_from_slice(b"}\n");
        return frame;
    }
    let mut event = Vec::with_capacity(object.len() + 24);
    put_bytes(&mut event, 1, kind.as_bytes());
    put_nested(&mut event, 2, |raw| put_bytes(raw, 1, object));
    let message = wrap_envelope(&GroupVersionKind::new("", "v1", "WatchEvent"), &event);
    // Upstream's length-delimited framing: four bytes, big endian.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &message].concat()
}

/// The encoded object of a bookmark: the kind and the revision, nothing else, but for the mark that ends
/// the initial events.
pub fn bookmark(
    media: Media,
    gvk: &GroupVersionKind,
    resource_version: &str,
    initial_end: bool,
) -> Vec<u8> {
    let mut object = json!({
        "apiVersion": gvk.api_version(),
        "kind": gvk.kind,
        "metadata": { "resourceVersion": resource_version },
    });
    if initial_end {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let media = if media == Media::Yaml { Media::Json } else { media };
    encode(&object, gvk, media)
}
