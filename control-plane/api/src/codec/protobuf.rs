//! Protobuf, guided by schema: messages to canonical trees and back, and upstream's envelope around
//! them: the bytes `k8s\0`, then a runtime.Unknown that names the kind.

mod reader;
mod wire;
mod writer;

pub use reader::read_message;
pub use wire::WireError;
pub use writer::write_message;

use crate::names::GroupVersionKind;

use wire::{Cursor, Value as WireValue};
pub(super) use wire::{put_bytes, put_nested};

/// The first bytes of every enveloped object.
pub const ENVELOPE_MAGIC: &[u8] = b"k8s\0";

/// An opened envelope.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// The message
    pub raw: &'a [u8],
    /// Empty for protobuf
    pub content_type: String,
}

/// Opens an envelope.
///
/// # Errors
/// Where the bytes are none, or are damaged.
pub fn unwrap_envelope(bytes: &[u8]) -> Result<Envelope<'_>, WireError> {
    let body = bytes.strip_prefix(ENVELOPE_MAGIC).ok_or(WireError::NoEnvelope)?;
    let mut envelope = Envelope {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
        content_type: String::new(),
    };
    let mut cursor = Cursor::new(body);
    while let Some((number, value)) = cursor.next_field()? {
        match (number, value) {
            (1, WireValue::Bytes(meta)) => {
                let mut meta = Cursor::new(meta);
                while let Some((number, value)) = meta.next_field()? {
                    match number {
                        1 => envelope.api_version = value.text()?.to_owned(),
                        2 => envelope.kind = value.text()?.to_owned(),
                        _ => {}
                    }
                }
            }
            (2, value) => envelope.raw = value.bytes()?,
            (4, value) => envelope.content_type = value.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(envelope)
}

/// Puts a message into an envelope.
pub fn wrap_envelope(gvk: &GroupVersionKind, message: &[u8]) -> Vec<u8> {
    wrap(gvk, message, "")
}

/// Puts JSON into an envelope: the form of objects whose kind has no message.
pub(super) fn wrap_json_envelope(gvk: &GroupVersionKind, json: &[u8]) -> Vec<u8> {
    wrap(gvk, json, "application/json")
}

fn wrap(gvk: &GroupVersionKind, message: &[u8], content_type: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 64);
    bytes.extend_from_slice(ENVELOPE_MAGIC);
    wire::put_nested(&mut bytes, 1, |meta| {
        wire::put_bytes(meta, 1, gvk.api_version().as_bytes());
        wire::put_bytes(meta, 2, gvk.kind.as_bytes());
    });
    wire::put_bytes(&mut bytes, 2, message);
    wire::put_bytes(&mut bytes, 3, b"");
    wire::put_bytes(&mut bytes, 4, content_type.as_bytes());
    bytes
}
