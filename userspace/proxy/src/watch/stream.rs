//! Lists and watches as the API server streams them in protobuf, taken apart while they arrive: no
//! answer is ever held whole, so memory does not grow with the cluster's lists.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

/// The first bytes of every enveloped object.
const MAGIC: &[u8] = b"k8s\0";
/// The largest single object or event that is taken; etcd's default limit is 1.5 MiB.
const MAX_MESSAGE: u64 = 16 << 20;
/// A field of bytes, in the lowest bits of its key.
const LENGTH_DELIMITED: u64 = 2;

/// What an API server sent that is none of its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No envelope, or not one of protobuf.
    #[error("the API server did not answer in protobuf")]
    NoEnvelope,
    /// A field of a list or an event cannot be.
    #[error("the API server's answer is damaged: {0}")]
    Damaged(String),
    /// The body ended too early.
    #[error("the API server's answer ended in the middle of an object")]
    CutShort,
}

impl From<prost::DecodeError> for StreamError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// `runtime.Unknown`, the envelope.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

/// `WatchEvent`.
#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

#[derive(Clone, PartialEq, Message)]
struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    r#continue: String,
}

/// The message in an envelope.
pub(super) fn open_envelope(mut bytes: Bytes) -> Result<Bytes, StreamError> {
    if !bytes.starts_with(MAGIC) {
        return Err(StreamError::NoEnvelope);
    }
    bytes.advance(MAGIC.len());
    Ok(Envelope::decode(bytes)?.raw)
}

/// Reads a varint; nothing when the bytes end in the middle of it.
fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, StreamError> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    match bytes.len() {
        0..10 => Ok(None),
        _ => Err(StreamError::Damaged("a number of more than 64 bits".into())),
    }
}

/// Takes a list apart.
#[derive(Debug, Default)]
pub struct ListReader {
    buffer: BytesMut,
    /// Bytes of the list's message that are not taken yet; unknown before the envelope is open.
    left: Option<u64>,
    /// The list's resource version, once it was seen.
    pub resource_version: String,
    /// Where the next part begins; empty in the last one.
    pub next_part: String,
}

impl ListReader {
    /// Takes a piece of the body; calls `item` for every object that is complete with it.
    pub fn push<K: Message + Default>(
        &mut self,
        piece: &[u8],
        mut item: impl FnMut(K),
    ) -> Result<(), StreamError> {
        self.buffer.extend_from_slice(piece);
        if self.left.is_none() && !self.open()? {
            return Ok(());
        }
        while self.left != Some(0) {
            let Some((field, message)) = self.field()? else { break };
            match field {
                1 => {
                    let meta = ListMeta::decode(message)?;
                    (self.resource_version, self.next_part) =
                        (meta.resource_version, meta.r#continue);
                }
                2 => item(K::decode(message)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the whole list was taken.
    pub fn finish(&self) -> Result<(), StreamError> {
        if self.left == Some(0) { Ok(()) } else { Err(StreamError::CutShort) }
    }

    /// Takes the beginning of the envelope, up to the list's message; whether it is there.
    fn open(&mut self) -> Result<bool, StreamError> {
        let begins = self.buffer.len().min(MAGIC.len());
        if self.buffer[..begins] != MAGIC[..begins] {
            return Err(StreamError::NoEnvelope);
        }
        let mut at = MAGIC.len();
        loop {
            let Some((key, key_bytes)) = varint(self.buffer.get(at..).unwrap_or_default())? else {
                return Ok(false);
            };
            let Some((length, length_bytes)) = varint(&self.buffer[at + key_bytes..])? else {
                return Ok(false);
            };
            at += key_bytes + length_bytes;
            match (key >> 3, key & 7) {
                (1, LENGTH_DELIMITED) if length <= MAX_MESSAGE => at += length as usize,
                (2, LENGTH_DELIMITED) => {
                    self.buffer.advance(at);
                    self.left = Some(length);
                    return Ok(true);
                }
                _ => return Err(StreamError::NoEnvelope),
            }
        }
    }

    /// Takes one field of the list's message; nothing when it is not complete yet.
    fn field(&mut self) -> Result<Option<(u64, Bytes)>, StreamError> {
        let Some((key, key_bytes)) = varint(&self.buffer)? else { return Ok(None) };
        let Some((length, length_bytes)) = varint(&self.buffer[key_bytes..])? else {
            return Ok(None);
        };
        let header = key_bytes + length_bytes;
        let bytes = header as u64 + length;
        let left = self.left.unwrap_or_default();
        if key & 7 != LENGTH_DELIMITED || length > MAX_MESSAGE || bytes > left {
            return Err(StreamError::Damaged(format!("field {} of a list", key >> 3)));
        }
        if (self.buffer.len() as u64) < bytes {
            self.buffer.reserve(bytes as usize - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(header);
        self.left = Some(left - bytes);
        Ok(Some((key >> 3, self.buffer.split_to(length as usize).freeze())))
    }
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// The object's message, out of its envelope.
    pub object: Bytes,
}

/// Takes a watch apart: each event follows its length in four bytes, the highest first.
#[derive(Debug, Default)]
pub struct WatchReader {
    buffer: BytesMut,
}

impl WatchReader {
    /// Takes a piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next event, if all of it is there.
    pub fn pull(&mut self) -> Result<Option<RawEvent>, StreamError> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        if u64::from(length) > MAX_MESSAGE {
            return Err(StreamError::Damaged(format!("an event of {length} bytes")));
        }
        let end = 4 + length as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(end).freeze();
        frame.advance(4);
        let event = WatchEvent::decode(frame)?;
        let raw = event.object.unwrap_or_default().raw;
        Ok(Some(RawEvent { kind: event.kind, object: open_envelope(raw)? }))
    }
}

#[cfg(test)]
mod tests {
    use skep_api::GroupVersionKind;
    use skep_api::codec::{self, FieldValidation, Media};

    use super::*;
    use crate::objects::ServiceCidr;

    fn cidr(name: &str, range: &str) -> serde_json::Value {
        serde_json::json!({ "metadata": { "name": name }, "spec": { "cidrs": [range] } })
    }

    fn encoded(kind: &str, mut object: serde_json::Value) -> Vec<u8> {
        let gvk = GroupVersionKind::new("networking.k8s.io", "v1", kind.to_owned());
        object["apiVersion"] = "networking.k8s.io/v1".into();
        object["kind"] = kind.into();
        let json = serde_json::to_vec(&object).expect("JSON");
        let decoded = codec::decode(&json, Media::Json, Some(&gvk), FieldValidation::Strict)
            .expect("an object of that kind");
        codec::encode(&decoded.object, &gvk, Media::Protobuf)
    }

    fn list() -> Vec<u8> {
        let items = [cidr("a", "10.96.0.0/16"), cidr("b", "fd00:96::/112")];
        let list = serde_json::json!({ "metadata": { "resourceVersion": "7" }, "items": items });
        encoded("ServiceCIDRList", list)
    }

    #[test]
    fn a_list_is_the_same_however_it_is_cut() {
        let whole = list();
        for piece in [1, 2, 7, whole.len()] {
            let (mut reader, mut names) = (ListReader::default(), Vec::new());
            for part in whole.chunks(piece) {
                let item = |cidr: ServiceCidr| names.push(cidr.spec.unwrap_or_default().cidrs);
                reader.push(part, item).expect("a list");
            }
            reader.finish().expect("all of it");
            assert_eq!(names, [["10.96.0.0/16"], ["fd00:96::/112"]], "pieces of {piece}");
            assert_eq!(reader.resource_version, "7");
        }
    }

    #[test]
    fn a_list_that_is_cut_short_is_noticed() {
        let whole = list();
        let mut reader = ListReader::default();
        reader.push(&whole[..whole.len() - 9], |_: ServiceCidr| ()).expect("so far");
        assert_eq!(reader.finish(), Err(StreamError::CutShort));
    }

    #[test]
    fn an_answer_in_json_is_refused() {
        let mut reader = ListReader::default();
        let refused = reader.push(br#"{"kind":"List"}"#, |_: ServiceCidr| ());
        assert_eq!(refused, Err(StreamError::NoEnvelope));
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        let object = encoded("ServiceCIDR", cidr("a", "10.96.0.0/16"));
        let mut event =
            WatchEvent { kind: "ADDED".into(), object: Some(RawExtension { raw: object.into() }) };
        let mut stream = Vec::new();
        for kind in ["ADDED", "DELETED"] {
            event.kind = kind.into();
            stream.extend((event.encoded_len() as u32).to_be_bytes());
            stream.extend(event.encode_to_vec());
        }
        for piece in [1, 5, stream.len()] {
            let (mut reader, mut kinds) = (WatchReader::default(), Vec::new());
            for part in stream.chunks(piece) {
                reader.push(part);
                while let Some(event) = reader.pull().expect("a watch") {
                    let cidr = ServiceCidr::decode(event.object).expect("the object");
                    assert_eq!(cidr.spec.unwrap_or_default().cidrs, ["10.96.0.0/16"]);
                    kinds.push(event.kind);
                }
            }
            assert_eq!(kinds, ["ADDED", "DELETED"], "pieces of {piece}");
        }
    }

    #[test]
    fn damaged_lengths_are_refused_before_memory_is_asked_for() {
        let mut reader = WatchReader::default();
        reader.push(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert!(reader.pull().is_err());
        let mut list = ListReader::default();
        // A list of 2^60 bytes whose first item claims all of them.
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
        bytes.extend([0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x0f]);
        assert!(list.push(&bytes, |_: ServiceCidr| ()).is_err());
    }
}
