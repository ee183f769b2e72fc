//! Watches of the API server, each turning objects into what scheduling keeps of them at once, so
//! that the large originals never pile up.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, pin_mut};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use crate::budget::Budget;
use crate::cluster::OwnerKind;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::scheduler::{Gone, Object};
use crate::selector::{Labels, Selector};
use crate::volumes::{Claim, Class, Volume};

/// How many kinds are watched: scheduling begins once each has been listed.
pub(crate) const KINDS: usize = 11;

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum Notice {
    /// An object came or changed.
    Set(Box<Object>),
    /// An object is gone.
    Gone(Gone),
    /// All objects of one more kind are known.
    Listed,
}

/// What a kind means to scheduling.
trait Watched: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static {
    fn object(&self) -> Object;
    fn gone(&self) -> Gone;
}

impl Watched for Pod {
    fn object(&self) -> Object {
        Object::Pod(Arc::new(PodInfo::new(self)))
    }
    fn gone(&self) -> Gone {
        Gone::Pod(self.uid().unwrap_or_default())
    }
}

impl Watched for Node {
    fn object(&self) -> Object {
        Object::Node(NodeInfo::new(self))
    }
    fn gone(&self) -> Gone {
        Gone::Node(self.name_any())
    }
}

impl Watched for Namespace {
    fn object(&self) -> Object {
        Object::Namespace(self.name_any(), self.metadata.labels.clone().unwrap_or_default())
    }
    fn gone(&self) -> Gone {
        Gone::Namespace(self.name_any())
    }
}

macro_rules! owner {
    ($kind:ident, |$owner:ident| $selector:expr) => {
        impl Watched for $kind {
            fn object(&self) -> Object {
                let $owner = self;
                let namespace = self.namespace().unwrap_or_default();
                Object::Owner(OwnerKind::$kind, namespace, self.name_any(), $selector)
            }
            fn gone(&self) -> Gone {
                Gone::Owner(OwnerKind::$kind, self.namespace().unwrap_or_default(), self.name_any())
            }
        }
    };
}

/// A selector of labels alone, which selects nothing if it is absent.
fn of_labels(labels: Option<&Labels>) -> Selector {
    labels.map_or_else(|| Selector::new(None), Selector::of_labels)
}

owner!(Service, |service| of_labels(service.spec.as_ref().and_then(|spec| spec.selector.as_ref())));
owner!(ReplicationController, |owner| of_labels(
    owner.spec.as_ref().and_then(|spec| spec.selector.as_ref())
));
owner!(ReplicaSet, |set| Selector::new(Some(&set.spec.selector)));
owner!(StatefulSet, |set| Selector::new(Some(&set.spec.selector)));

impl Watched for PersistentVolumeClaim {
    fn object(&self) -> Object {
        Object::Claim(self.namespace().unwrap_or_default(), self.name_any(), Claim::new(self))
    }
    fn gone(&self) -> Gone {
        Gone::Claim(self.namespace().unwrap_or_default(), self.name_any())
    }
}

impl Watched for PersistentVolume {
    fn object(&self) -> Object {
        Object::Volume(self.name_any(), Volume::new(self))
    }
    fn gone(&self) -> Gone {
        Gone::Volume(self.name_any())
    }
}

impl Watched for StorageClass {
    fn object(&self) -> Object {
        Object::Class(self.name_any(), Class::new(self))
    }
    fn gone(&self) -> Gone {
        Gone::Class(self.name_any())
    }
}

impl Watched for PodDisruptionBudget {
    fn object(&self) -> Object {
        Object::Budget(self.namespace().unwrap_or_default(), self.name_any(), Budget::new(self))
    }
    fn gone(&self) -> Gone {
        Gone::Budget(self.namespace().unwrap_or_default(), self.name_any())
    }
}

/// Starts all watches; they end when the set is dropped or nobody listens any more.
pub(crate) fn start(client: &Client, notices: &Sender<Notice>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    // Pods that have ended need nothing: the API server need not send them.
    let live = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    spawn::<Pod>(&mut tasks, client, notices, live);
    macro_rules! spawn_all {
        ($($kind:ty),*) => { $(spawn::<$kind>(&mut tasks, client, notices, watcher::Config::default());)* };
    }
    spawn_all!(
        Node,
        Namespace,
        Service,
        ReplicationController,
        ReplicaSet,
        StatefulSet,
        PersistentVolumeClaim,
        PersistentVolume,
        StorageClass,
        PodDisruptionBudget
    );
    debug_assert_eq!(tasks.len(), KINDS);
    tasks
}

fn spawn<K: Watched>(
    tasks: &mut JoinSet<()>,
    client: &Client,
    notices: &Sender<Notice>,
    config: watcher::Config,
) {
    let stream = watcher(Api::<K>::all(client.clone()), config).default_backoff();
    let notices = notices.clone();
    tasks.spawn(async move { forward(stream, &notices).await });
}

/// What is known of a kind: how each object, by namespace and name, would be told as gone.
type Known = HashMap<(Option<String>, String), Gone>;

/// Passes on what a watch tells. After a new list, which may have missed deletions, what is no
/// longer there is told as gone; and so is what was replaced by another of the same name.
async fn forward<K: Watched>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    notices: &Sender<Notice>,
) {
    pin_mut!(stream);
    let mut known = Known::new();
    let mut listing: Option<Known> = None;
    let mut listed = false;
    while let Some(event) = stream.next().await {
        let mut out = Vec::new();
        match event {
            Ok(Event::Init) => listing = Some(Known::new()),
            Ok(Event::InitApply(object)) => {
                let gone = object.gone();
                if let Some(listing) = &mut listing {
                    listing.insert(key(&object), gone.clone());
                }
                out.extend(replaced(&mut known, &object, &gone));
                out.push(Notice::Set(Box::new(object.object())));
            }
            Ok(Event::InitDone) => {
                let now = listing.take().unwrap_or_default();
                let missing = known.iter().filter(|(key, _)| !now.contains_key(*key));
                out.extend(missing.map(|(_, gone)| Notice::Gone(gone.clone())));
                known = now;
                if !std::mem::replace(&mut listed, true) {
                    out.push(Notice::Listed);
                }
            }
            Ok(Event::Apply(object)) => {
                out.extend(replaced(&mut known, &object, &object.gone()));
                out.push(Notice::Set(Box::new(object.object())));
            }
            Ok(Event::Delete(object)) => {
                known.remove(&key(&object));
                out.push(Notice::Gone(object.gone()));
            }
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "watch"),
        }
        for notice in out {
            if notices.send(notice).await.is_err() {
                return;
            }
        }
    }
}

fn key<K: Watched>(object: &K) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

fn replaced<K: Watched>(known: &mut Known, object: &K, gone: &Gone) -> Option<Notice> {
    let earlier = known.insert(key(object), gone.clone())?;
    (earlier != *gone).then_some(Notice::Gone(earlier))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::sync::mpsc;

    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        pod.metadata.namespace = Some("a".into());
        pod.metadata.uid = Some(uid.into());
        pod.spec = Some(Default::default());
        pod
    }

    async fn told(events: Vec<Event<Pod>>) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(100);
        forward(stream::iter(events.into_iter().map(Ok)), &sender).await;
        drop(sender);
        let mut told = Vec::new();
        while let Some(notice) = receiver.recv().await {
            told.push(match notice {
                Notice::Set(object) => match *object {
                    Object::Pod(pod) => format!("set {}", pod.uid),
                    other => panic!("{other:?}"),
                },
                Notice::Gone(Gone::Pod(uid)) => format!("gone {uid}"),
                Notice::Listed => "listed".into(),
                other => panic!("{other:?}"),
            });
        }
        told
    }

    #[tokio::test]
    async fn what_a_new_list_misses_is_gone() {
        let events = vec![
            Event::Init,
            Event::InitApply(pod("x", "1")),
            Event::InitApply(pod("y", "2")),
            Event::InitDone,
            Event::Apply(pod("z", "3")),
            Event::Init,
            Event::InitApply(pod("x", "1")),
            Event::InitApply(pod("y", "4")),
            Event::InitDone,
        ];
        let expected = ["set 1", "set 2", "listed", "set 3", "set 1", "gone 2", "set 4", "gone 3"];
        assert_eq!(told(events).await, expected);
    }

    #[tokio::test]
    async fn an_object_replaced_under_its_name_is_gone_first() {
        let events = vec![
            Event::Apply(pod("x", "1")),
            Event::Apply(pod("x", "1")),
            Event::Apply(pod("x", "2")),
            Event::Delete(pod("x", "2")),
        ];
        assert_eq!(told(events).await, ["set 1", "set 1", "gone 1", "set 2", "gone 2"]);
    }
}
