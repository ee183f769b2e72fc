//! Watches the metadata of every resource that can be deleted, and keeps up with resources that come
//! and go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

use super::Shared;
use super::graph::Node;
use crate::discovery::{Resource, discover};
use crate::runtime::Queue;

/// How often the server is asked what it offers.
const REDISCOVER: Duration = Duration::from_secs(30);
/// How long the first lists of all resources may take before work begins without the rest.
const FIRST_SYNC: Duration = Duration::from_secs(30);

/// Events come and go by the thousand and own nothing; what reviews is never stored.
fn is_ignored(resource: &Resource) -> bool {
    resource.api.kind == "Event" && matches!(resource.api.group.as_str(), "" | "events.k8s.io")
}

/// Monitors for ever. `queue` gets the uids to look at, from the time the first lists are in.
pub(super) async fn run(client: Client, shared: Arc<Shared>, queue: Queue<String>) {
    let mut monitors: HashMap<Resource, AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    let ready = watch::Sender::new(false);
    loop {
        let catalog = match discover(&client).await {
            Ok(catalog) => catalog,
            Err(error) => {
                warn!(%error, "resources not discovered; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let wanted: HashSet<Resource> = catalog
            .resources
            .into_iter()
            .filter(|resource| resource.can(&["delete", "list", "watch"]) && !is_ignored(resource))
            .collect();
        // What could not be asked about is not gone.
        if catalog.stale.is_empty() {
            stop_gone(&mut monitors, &wanted, &shared, &queue);
        }
        let mut synced = Vec::new();
        for resource in wanted {
            if monitors.contains_key(&resource) {
                continue;
            }
            let key = (resource.api.api_version.clone(), resource.api.kind.clone());
            shared.resources.write().insert(key, resource.clone());
            let (done, first_list) = watch::channel(false);
            let out =
                Out { shared: shared.clone(), queue: queue.clone(), ready: ready.subscribe() };
            let task = tasks.spawn(follow(client.clone(), resource.clone(), out, done));
            monitors.insert(resource, task);
            synced.push(first_list);
        }
        if !*ready.borrow() {
            let all = async {
                for mut first_list in synced {
                    let _ = first_list.wait_for(|done| *done).await;
                }
            };
            if tokio::time::timeout(FIRST_SYNC, all).await.is_err() {
                warn!("some resources are slow to list; garbage is collected among the others");
            }
            ready.send_replace(true);
            let all = shared.graph.lock().with_strange_owners();
            all.into_iter().for_each(|uid| queue.add(uid));
        }
        tokio::time::sleep(REDISCOVER).await;
    }
}

fn stop_gone(
    monitors: &mut HashMap<Resource, AbortHandle>,
    wanted: &HashSet<Resource>,
    shared: &Shared,
    queue: &Queue<String>,
) {
    monitors.retain(|resource, task| {
        if wanted.contains(resource) {
            return true;
        }
        task.abort();
        let (api_version, kind) = (&resource.api.api_version, &resource.api.kind);
        shared.resources.write().remove(&(api_version.clone(), kind.clone()));
        let mut graph = shared.graph.lock();
        for uid in graph.of_kind(api_version, kind) {
            graph.remove(&uid).into_iter().for_each(|uid| queue.add(uid));
        }
        false
    });
}

/// Where one monitor tells what it sees.
struct Out {
    shared: Arc<Shared>,
    queue: Queue<String>,
    ready: watch::Receiver<bool>,
}

impl Out {
    fn look(&self, uids: Vec<String>) {
        // Before everything is listed, an owner that is not known may be known soon.
        if *self.ready.borrow() {
            uids.into_iter().for_each(|uid| self.queue.add(uid));
        }
    }
}

type Metadata = PartialObjectMeta<DynamicObject>;

async fn follow(client: Client, resource: Resource, out: Out, done: watch::Sender<bool>) {
    let api: Api<Metadata> = Api::all_with(client, &resource.api);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut listed: HashSet<String> = HashSet::new();
    let (api_version, kind) = (&resource.api.api_version, &resource.api.kind);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                debug!(resource = resource.group_resource(), %error, "watch failed; trying again");
                continue;
            }
        };
        let put = |object: &Metadata| {
            let uid = object.metadata.uid.clone().unwrap_or_default();
            let node = Node::new(api_version, kind, &object.metadata);
            out.look(out.shared.graph.lock().put(&uid, node));
            uid
        };
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) => drop(listed.insert(put(&object))),
            watcher::Event::InitDone => {
                let mut graph = out.shared.graph.lock();
                for uid in graph.of_kind(api_version, kind).difference(&listed) {
                    out.look(graph.remove(uid));
                }
                listed = HashSet::new();
                done.send_replace(true);
            }
            watcher::Event::Apply(object) => drop(put(&object)),
            watcher::Event::Delete(object) => {
                let uid = object.metadata.uid.unwrap_or_default();
                out.look(out.shared.graph.lock().remove(&uid));
            }
        }
    }
}
