//! Lists, written item by item, so that no list is ever held as a tree.

use serde_json::{Value, json};

use crate::names::GroupVersionKind;
use crate::registry::builtin;
use crate::schema::Shape;

use super::protobuf::{put_bytes, put_nested};
use super::{Media, wrap_envelope, write_json, write_message};

/// What a list says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMeta {
    /// The revision the list shows
    pub resource_version: String,
    /// Where to go on
    pub continue_token: String,
    /// How many items are left, where that is known
    pub remaining: Option<i64>,
}

impl ListMeta {
    /// `metadata` of the list.
    pub fn to_value(&self) -> Value {
        let mut meta = json!({ "resourceVersion": self.resource_version });
        if !self.continue_token.is_empty() {
            meta["continue"] = self.continue_token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
        meta
    }
}

/// Writes a list of one kind.
#[derive(Debug)]
pub struct ListWriter {
    media: Media,
    list: GroupVersionKind,
    item: Shape,
    bytes: Vec<u8>,
    items: usize,
}

impl ListWriter {
    /// Begins a list of this kind (`PodList`) of objects of kind `item`.
    pub fn new(
        media: Media,
        list: &GroupVersionKind,
        item: &GroupVersionKind,
        meta: &ListMeta,
    ) -> Self {
        let shape = builtin().kind(item).map_or(Shape::Json, Shape::Object);
        let mut writer =
            Self { media, list: list.clone(), item: shape, bytes: Vec::new(), items: 0 };
        if media == Media::Protobuf {
            let ty = crate::schema::builtin_type("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
            let ty = ty.expect("the table holds ListMeta");
            let meta = write_message(&meta.to_value(), &ty);
            put_bytes(&mut writer.bytes, 1, &meta);
        } else {
            let head = json!({ "kind": list.kind, "apiVersion": list.api_version() }).to_string();
            writer.bytes.extend_from_slice(head.trim_end_matches('}').as_bytes());
            writer.bytes.extend_from_slice(b",\"metadata\":");
            writer.bytes.extend_from_slice(meta.to_value().to_string().as_bytes());
            writer.bytes.extend_from_slice(b",\"items\":[");
        }
        writer
    }

    /// Adds an object.
    pub fn push(&mut self, object: &Value) {
        if self.media == Media::Protobuf {
            if let Shape::Object(ty) = &self.item {
                let message = write_message(object, ty);
                put_nested(&mut self.bytes, 2, |to| to.extend_from_slice(&message));
            }
        } else {
            self.separate();
            write_json(object, &self.item, &mut self.bytes);
        }
        self.items += 1;
    }

    /// Adds an object that was encoded before by [`super::encode`], as this list's media type; YAML lists
    /// take JSON.
    ///
    /// # Errors
    /// Where the bytes are no envelope.
    pub fn push_encoded(&mut self, encoded: &[u8]) -> Result<(), super::protobuf::WireError> {
        if self.media == Media::Protobuf {
            let envelope = super::unwrap_envelope(encoded)?;
            put_bytes(&mut self.bytes, 2, envelope.raw);
        } else {
            self.separate();
            self.bytes.extend_from_slice(encoded);
        }
        self.items += 1;
        Ok(())
    }

    fn separate(&mut self) {
        if self.items > 0 {
            self.bytes.push(b',');
        }
    }

    /// The encoded list.
    pub fn finish(mut self) -> Vec<u8> {
        match self.media {
            Media::Protobuf => wrap_envelope(&self.list, &self.bytes),
            media => {
                self.bytes.extend_from_slice(b"]}");
                if media == Media::Yaml { super::yaml_of(&self.bytes) } else { self.bytes }
            }
        }
    }
}
