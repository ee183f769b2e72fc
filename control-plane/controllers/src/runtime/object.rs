//! Names of objects, and reading and writing single objects of any kind, namespaced or not.

use std::fmt::{self, Debug, Display};

use http::Request as HttpRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ObjectList, Request};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind that controllers read and write: a typed API object whose type says its path.
pub trait Kind:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Where an object is: its namespace (empty for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Unique in its namespace.
    pub name: String,
}

impl Key {
    /// The key of a name in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped name.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    /// The key of an object that has been stored (so it has a name).
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What went wrong with one request.
pub type RequestError = kube::Error;

/// The API answered that the object does not exist.
pub fn is_not_found(error: &RequestError) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The API answered that the object changed since it was read.
pub fn is_conflict(error: &RequestError) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason != "AlreadyExists")
}

/// The API answered that an object of this name is there already.
pub fn is_already_exists(error: &RequestError) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// Reads and writes single objects: a client without a kind.
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

impl Objects {
    /// Objects behind this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client itself, for requests that are not about one typed object.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The object as the server has it now.
    pub async fn get<K: Kind>(&self, key: &Key) -> Result<K, RequestError> {
        let request = collection::<K>(&key.namespace).get(&key.name, &GetParams::default());
        self.send(request).await
    }

    /// Every object in a namespace, or in the cluster when `namespace` is empty.
    pub async fn list<K: Kind>(&self, namespace: &str) -> Result<Vec<K>, RequestError> {
        let request = collection::<K>(namespace).list(&ListParams::default());
        let list: ObjectList<K> = self.send(request).await?;
        Ok(list.items)
    }

    /// Creates the object in the namespace its metadata names.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, RequestError> {
        let key = Key::of(object.meta());
        let body = encode(object)?;
        self.send(collection::<K>(&key.namespace).create(&PostParams::default(), body)).await
    }

    /// Replaces the object; a resource version in it guards against lost updates.
    pub async fn replace<K: Kind>(&self, object: &K) -> Result<K, RequestError> {
        let key = Key::of(object.meta());
        let body = encode(object)?;
        let request =
            collection::<K>(&key.namespace).replace(&key.name, &PostParams::default(), body);
        self.send(request).await
    }

    /// Replaces a subresource (`status`, `finalize`, `approval`) of the object.
    pub async fn replace_part<K: Kind>(&self, part: &str, object: &K) -> Result<K, RequestError> {
        let key = Key::of(object.meta());
        let body = encode(object)?;
        let request = collection::<K>(&key.namespace).replace_subresource(
            part,
            &key.name,
            &PostParams::default(),
            body,
        );
        self.send(request).await
    }

    /// Replaces the object's status.
    pub async fn replace_status<K: Kind>(&self, object: &K) -> Result<K, RequestError> {
        self.replace_part("status", object).await
    }

    /// Patches the object (`part` empty) or one of its subresources.
    pub async fn patch<K: Kind, P: Serialize>(
        &self,
        key: &Key,
        part: &str,
        patch: &Patch<P>,
    ) -> Result<K, RequestError> {
        let collection = collection::<K>(&key.namespace);
        let request = if part.is_empty() {
            collection.patch(&key.name, &PatchParams::default(), patch)
        } else {
            collection.patch_subresource(part, &key.name, &PatchParams::default(), patch)
        };
        self.send(request).await
    }

    /// Deletes the object; what the answer holds (object or status) does not matter.
    pub async fn delete<K: Kind>(&self, key: &Key, how: &DeleteParams) -> Result<(), RequestError> {
        let request = collection::<K>(&key.namespace).delete(&key.name, how);
        let _: serde_json::Value = self.send(request).await?;
        Ok(())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: Result<HttpRequest<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, RequestError> {
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }
}

fn encode<K: Kind>(object: &K) -> Result<Vec<u8>, RequestError> {
    serde_json::to_vec(object).map_err(kube::Error::SerdeError)
}

fn collection<K: Kind>(namespace: &str) -> Request {
    Request::new(K::url_path(&(), Some(namespace).filter(|namespace| !namespace.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_as_kubectl_writes_it() {
        assert_eq!(Key::new("default", "web").to_string(), "default/web");
        assert_eq!(Key::cluster("node-1").to_string(), "node-1");
    }
}
