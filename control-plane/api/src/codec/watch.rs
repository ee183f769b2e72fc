//! Watch events: one line of JSON each, or a length and a message.

use serde_json::json;

use crate::names::GroupVersionKind;

use super::protobuf::{put_bytes, put_nested};
use super::{Media, encode};

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
    // The event itself goes without an envelope, behind its length: four bytes, big endian. Its object
    // has its own.
    let mut frame = vec![0; 4];
    put_bytes(&mut frame, 1, kind.as_bytes());
    put_nested(&mut frame, 2, |raw| put_bytes(raw, 1, object));
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(
            watch_event(Media::Json, "ADDED", b"{}\n"),
            b"{\"type\":\"ADDED\",\"object\":{}}\n"
        );
        let frame = watch_event(Media::Protobuf, "ADDED", b"k8s\0x");
        assert_eq!(frame, b"\0\0\0\x10\x0a\x05ADDED\x12\x07\x0a\x05k8s\0x");
    }

    #[test]
    fn a_bookmark_tells_its_revision() {
        let gvk = GroupVersionKind::new("", "v1", "Namespace");
        let text = String::from_utf8(bookmark(Media::Json, &gvk, "7", true)).expect("JSON");
        assert!(text.contains("\"resourceVersion\":\"7\""), "{text}");
        assert!(text.contains("\"k8s.io/initial-events-end\":\"true\""), "{text}");
    }
}
