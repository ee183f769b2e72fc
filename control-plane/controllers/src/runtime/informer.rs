//! One watch per kind, shared by every controller of the process. The watch fills a cache and tells
//! each subscriber what changed, with the object before and after: kube's own store has neither the
//! old object nor an owner index, which is why only its watcher is used here.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::cache::{Cache, Change};
use super::object::{Key, Kind};

type Subscriber<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

/// The cache of a kind and whoever wants to know when it changes.
pub struct Informer<K> {
    cache: Cache<K>,
    subscribers: RwLock<Vec<Subscriber<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Default for Informer<K> {
    fn default() -> Self {
        Self {
            cache: Cache::default(),
            subscribers: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl<K: Kind> Informer<K> {
    /// What is known now.
    pub fn cache(&self) -> &Cache<K> {
        &self.cache
    }

    /// Calls `told` with every change from now on. It must be quick: it runs on the watch's task.
    pub fn subscribe(&self, told: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        self.subscribers.write().push(Box::new(told));
    }

    /// Turns true when the first full list is in the cache.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Takes one event of the watch. `listing` holds the keys of a list under way.
    fn take(&self, event: watcher::Event<K>, listing: &mut HashSet<Key>) {
        match event {
            watcher::Event::Init => listing.clear(),
            watcher::Event::InitApply(object) => {
                listing.insert(Key::of(object.meta()));
                self.put(object);
            }
            watcher::Event::InitDone => {
                let gone = self.cache.keys().into_iter().filter(|key| !listing.contains(key));
                gone.for_each(|key| self.drop_key(&key));
                *listing = HashSet::new();
                self.synced.send_replace(true);
            }
            watcher::Event::Apply(object) => self.put(object),
            watcher::Event::Delete(object) => {
                // The last form of the object says how it ended.
                let last = Arc::new(trimmed(object));
                let old = self.cache.remove(&Key::of(last.meta()));
                if old.is_some() {
                    self.tell(&Change { old: Some(&last), new: None });
                }
            }
        }
    }

    fn put(&self, object: K) {
        let new = Arc::new(trimmed(object));
        let old = self.cache.insert(&new);
        let unchanged = old
            .as_ref()
            .is_some_and(|old| old.meta().resource_version == new.meta().resource_version);
        if !unchanged {
            self.tell(&Change { old: old.as_ref(), new: Some(&new) });
        }
    }

    fn drop_key(&self, key: &Key) {
        if let Some(old) = self.cache.remove(key) {
            self.tell(&Change { old: Some(&old), new: None });
        }
    }

    fn tell(&self, change: &Change<'_, K>) {
        self.subscribers.read().iter().for_each(|told| told(change));
    }
}

/// What is kept of an object: nothing here reads who manages which field.
fn trimmed<K: Kind>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

async fn follow<K: Kind>(informer: Arc<Informer<K>>, client: Client) {
    let kind = K::kind(&());
    let events = watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut listing = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => informer.take(event, &mut listing),
            Err(error @ watcher::Error::WatchFailed(_)) => debug!(%kind, %error, "watch ended"),
            Err(error) => warn!(%kind, %error, "watch failed; trying again"),
        }
    }
}

type Start = Box<dyn FnOnce(Client, &mut JoinSet<()>) + Send>;

/// The informers of a process: at most one per kind.
#[derive(Default)]
pub struct Informers {
    known: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    starts: Mutex<Vec<Start>>,
}

impl Informers {
    /// The informer of a kind; asking for it first makes it.
    pub fn of<K: Kind>(&mut self) -> Arc<Informer<K>> {
        let known = self.known.entry(TypeId::of::<K>()).or_insert_with(|| {
            let informer = Arc::<Informer<K>>::default();
            let started = informer.clone();
            self.starts.lock().push(Box::new(move |client, tasks| {
                tasks.spawn(follow(started, client));
            }));
            informer
        });
        known.clone().downcast().expect("entries are filed under the type of their kind")
    }

    /// Starts one watch per kind asked for so far; they end when the set is dropped.
    pub fn start(&self, client: &Client, tasks: &mut JoinSet<()>) {
        for start in self.starts.lock().drain(..) {
            start(client.clone(), tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn map(name: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn subscribers_hear_of_creation_change_and_loss_but_not_of_a_repeated_list() {
        let informer = Informer::<ConfigMap>::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        informer.subscribe(move |change| {
            let version = |object: Option<&Arc<ConfigMap>>| {
                object.and_then(|object| object.metadata.resource_version.clone())
            };
            log.lock().push((version(change.old), version(change.new)));
        });
        let mut listing = HashSet::new();
        let mut take = |event| informer.take(event, &mut listing);
        take(watcher::Event::Init);
        take(watcher::Event::InitApply(map("a", "1")));
        take(watcher::Event::InitApply(map("b", "2")));
        take(watcher::Event::InitDone);
        take(watcher::Event::Apply(map("a", "3")));
        take(watcher::Event::Init);
        take(watcher::Event::InitApply(map("a", "3")));
        take(watcher::Event::InitDone);
        let some = |version: &str| Some(version.to_owned());
        let expected =
            [(None, some("1")), (None, some("2")), (some("1"), some("3")), (some("2"), None)];
        assert_eq!(*heard.lock(), expected);
        assert!(*informer.synced().borrow());
    }
}
