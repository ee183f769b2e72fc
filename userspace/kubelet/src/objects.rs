//! Config maps and secrets that pods on this node use, one at a time: a node may not list them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

/// How long a fetched object serves the other pods that want it.
const FRESH: Duration = Duration::from_secs(5);
/// Entries kept at most; beyond, the old ones go.
const MOST: usize = 1024;

type Kept<K> = Mutex<HashMap<(String, String), (Instant, Option<K>)>>;

/// Fetches objects, each at most once in a few seconds.
pub(crate) struct Objects {
    client: Client,
    config_maps: Kept<ConfigMap>,
    secrets: Kept<Secret>,
}

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, config_maps: Mutex::default(), secrets: Mutex::default() }
    }

    /// A config map; none if there is no such.
    pub(crate) async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<ConfigMap>> {
        fetch(&self.client, &self.config_maps, namespace, name).await
    }

    /// A secret; none if there is no such.
    pub(crate) async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Secret>> {
        fetch(&self.client, &self.secrets, namespace, name).await
    }
}

async fn fetch<K>(
    client: &Client,
    kept: &Kept<K>,
    namespace: &str,
    name: &str,
) -> kube::Result<Option<K>>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K::DynamicType: Default,
{
    let key = (namespace.to_owned(), name.to_owned());
    if let Some((at, object)) = kept.lock().get(&key)
        && at.elapsed() < FRESH
        && object.is_some()
    {
        return Ok(object.clone());
    }
    let object = Api::<K>::namespaced(client.clone(), namespace).get_opt(name).await?;
    let mut kept = kept.lock();
    if kept.len() >= MOST {
        kept.retain(|_, (at, _)| at.elapsed() < FRESH);
    }
    kept.insert(key, (Instant::now(), object.clone()));
    Ok(object)
}
