//! What one process knows of one kind: every object, found by key, by namespace, and by the
//! controller that owns it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use super::object::{Key, Kind};
use crate::owner::controller_of;

/// One step in an object's life: created (no `old`), changed, or gone (no `new`).
pub struct Change<'a, K> {
    /// The object as it was known before.
    pub old: Option<&'a Arc<K>>,
    /// The object as it is now.
    pub new: Option<&'a Arc<K>>,
}

impl<K> Change<'_, K> {
    /// The newest known form of the object.
    pub fn latest(&self) -> &Arc<K> {
        self.new.or(self.old).expect("a change has an object before or after it")
    }

    /// Both forms, where there are two: whoever cared about either is told.
    pub fn both(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.into_iter().chain(self.new)
    }
}

/// All objects of a kind. Readers get shared, immutable objects.
pub struct Cache<K> {
    shelves: RwLock<Shelves<K>>,
}

struct Shelves<K> {
    objects: BTreeMap<Key, Arc<K>>,
    by_owner: HashMap<String, HashSet<Key>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let shelves = Shelves { objects: BTreeMap::new(), by_owner: HashMap::new() };
        Self { shelves: RwLock::new(shelves) }
    }
}

impl<K: Kind> Cache<K> {
    /// The object under this key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.shelves.read().objects.get(key).cloned()
    }

    /// Every object, in the order of their keys.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.shelves.read().objects.values().cloned().collect()
    }

    /// Every object of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = Key::new(namespace, "");
        let shelves = self.shelves.read();
        shelves
            .objects
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Every object whose controlling owner has this uid.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let shelves = self.shelves.read();
        let keys = shelves.by_owner.get(uid).into_iter().flatten();
        keys.filter_map(|key| shelves.objects.get(key).cloned()).collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.shelves.read().objects.keys().cloned().collect()
    }

    /// Puts an object in place and hands back what was there.
    pub fn insert(&self, object: &Arc<K>) -> Option<Arc<K>> {
        let key = Key::of(object.meta());
        let mut shelves = self.shelves.write();
        let old = shelves.objects.insert(key.clone(), object.clone());
        if let Some(old) = &old {
            shelves.forget_owner(old, &key);
        }
        if let Some(owner) = controller_of(object.meta()) {
            shelves.by_owner.entry(owner.uid.clone()).or_default().insert(key);
        }
        old
    }

    /// Takes an object away and hands it back.
    pub fn remove(&self, key: &Key) -> Option<Arc<K>> {
        let mut shelves = self.shelves.write();
        let old = shelves.objects.remove(key)?;
        shelves.forget_owner(&old, key);
        Some(old)
    }
}

impl<K: Kind> Shelves<K> {
    fn forget_owner(&mut self, object: &K, key: &Key) {
        let Some(owner) = controller_of(object.meta()) else { return };
        if let Some(keys) = self.by_owner.get_mut(&owner.uid) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&owner.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

    use super::*;

    fn pod(namespace: &str, name: &str, owner: Option<&str>) -> Arc<Pod> {
        let owner_references = owner.map(|uid| {
            vec![OwnerReference {
                uid: uid.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]
        });
        let metadata = ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            owner_references,
            ..ObjectMeta::default()
        };
        Arc::new(Pod { metadata, ..Pod::default() })
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
    }

    #[test]
    fn a_namespace_holds_only_its_own() {
        let cache = Cache::default();
        for (namespace, name) in [("a", "z"), ("b", "x"), ("b", "y"), ("c", "w")] {
            cache.insert(&pod(namespace, name, None));
        }
        assert_eq!(names(&cache.in_namespace("b")), ["x", "y"]);
        assert!(cache.in_namespace("d").is_empty());
    }

    #[test]
    fn the_owner_index_follows_adoption_release_and_removal() {
        let cache = Cache::default();
        cache.insert(&pod("a", "x", None));
        assert!(cache.owned_by("u1").is_empty());
        cache.insert(&pod("a", "x", Some("u1")));
        assert_eq!(names(&cache.owned_by("u1")), ["x"]);
        cache.insert(&pod("a", "x", Some("u2")));
        assert!(cache.owned_by("u1").is_empty());
        cache.remove(&Key::new("a", "x"));
        assert!(cache.owned_by("u2").is_empty());
    }
}
