//! One resource's objects in the store: their keys, and their encoding on the way in and out.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use skep_api::Object;
use skep_api::codec::storage;
use skep_api::convert;
use skep_api::names::GroupVersionKind;
use skep_api::registry::Resource;
use skep_api::status::Status;
use skep_store::{Error, KeyValue, Revision, Store};

use crate::ApiServer;

/// Upstream's prefix.
pub(crate) const ROOT: &str = "/registry";

/// An object as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// In the served version, with its resourceVersion.
    pub(crate) object: Object,
    pub(crate) key: Bytes,
    pub(crate) revision: Revision,
    pub(crate) lease: Option<skep_store::LeaseId>,
}

/// A resource's place in the store.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) resource: &'static Resource,
    stored_as: GroupVersionKind,
    prefix: String,
}

impl Objects {
    /// `None` for resources that store nothing.
    pub(crate) fn of(server: &ApiServer, resource: &'static Resource) -> Option<Self> {
        let place = resource.storage()?;
        Some(Self {
            store: server.store().clone(),
            resource,
            stored_as: place.gvk,
            prefix: format!("{ROOT}{}/", place.prefix),
        })
    }

    /// The objects of a built-in resource by name.
    ///
    /// # Panics
    /// When there is no such resource: callers name what the generated tables hold.
    pub(crate) fn named(server: &ApiServer, group: &str, version: &str, plural: &str) -> Self {
        let resource = server.registry().resource(group, version, plural);
        resource
            .and_then(|resource| Self::of(server, resource))
            .unwrap_or_else(|| panic!("{plural}.{version}.{group} is a built-in resource"))
    }

    /// The prefix of every object's key, or of those in one namespace.
    pub(crate) fn prefix(&self, namespace: &str) -> String {
        if namespace.is_empty() {
            return self.prefix.clone();
        }
        format!("{}{namespace}/", self.prefix)
    }

    pub(crate) fn key(&self, namespace: &str, name: &str) -> Bytes {
        format!("{}{name}", self.prefix(namespace)).into()
    }

    /// What of a key comes after the resource's prefix.
    pub(crate) fn relative<'a>(&self, key: &'a [u8]) -> &'a str {
        let key = std::str::from_utf8(key).unwrap_or_default();
        key.strip_prefix(&self.prefix).unwrap_or_default()
    }

    pub(crate) async fn get(&self, namespace: &str, name: &str) -> Result<Option<Stored>, Status> {
        let found = self.store.get(self.key(namespace, name)).await.map_err(store_error)?;
        found.map(|kv| self.stored(&kv)).transpose()
    }

    /// The object, or 404.
    pub(crate) async fn find(&self, namespace: &str, name: &str) -> Result<Stored, Status> {
        let found = self.get(namespace, name).await?;
        found.ok_or_else(|| Status::not_found(&self.resource.group_resource(), name))
    }

    pub(crate) fn stored(&self, kv: &KeyValue) -> Result<Stored, Status> {
        Ok(Stored {
            object: self.decode(&kv.value, kv.mod_revision)?,
            key: kv.key.clone(),
            revision: kv.mod_revision,
            lease: kv.lease,
        })
    }

    /// A stored value in the served version, as of `revision`.
    pub(crate) fn decode(&self, value: &[u8], revision: Revision) -> Result<Object, Status> {
        let (gvk, object) = storage::decode(value)
            .map_err(|error| Status::internal(format!("decode a stored object: {error}")))?;
        let mut object = self.convert(&gvk, &self.resource.gvk(), object)?;
        set_resource_version(&mut object, revision);
        Ok(object)
    }

    /// The bytes to store.
    pub(crate) fn encode(&self, object: &Object) -> Result<Bytes, Status> {
        let mut object = self.convert(&self.resource.gvk(), &self.stored_as, object.clone())?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        Ok(storage::encode(&object, &self.stored_as).into())
    }

    fn convert(
        &self,
        from: &GroupVersionKind,
        to: &GroupVersionKind,
        object: Object,
    ) -> Result<Object, Status> {
        if from == to {
            return Ok(object);
        }
        convert::to(from, to, object).map_err(Status::internal)
    }
}

/// Writes `metadata.resourceVersion`.
pub(crate) fn set_resource_version(object: &mut Object, revision: Revision) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
}

/// A store's error as an answer.
pub(crate) fn store_error(error: Error) -> Status {
    match error {
        Error::Compacted { asked, oldest } => {
            Status::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        Error::Future { asked, current } => {
            Status::too_large_resource_version(asked.0, current.0, 1)
        }
        error => Status::internal(error),
    }
}

/// A text field of an object; empty when absent.
pub(crate) fn text<'a>(object: &'a Object, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
