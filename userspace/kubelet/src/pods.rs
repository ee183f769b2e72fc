//! The pods of this node: each change goes to the pod's own worker, and so does each change that the
//! runtime shows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use skep_cri::v1::{Container, PodSandbox};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admission::{self, Room};
use crate::events::Kind;
use crate::garbage;
use crate::identity::PodId;
use crate::kubelet::Kubelet;
use crate::memory::Doom;
use crate::worker::{Word, Worker};

/// How often the runtime is asked what runs.
const LOOK: Duration = Duration::from_secs(1);
/// How often garbage is collected.
const COLLECT: Duration = Duration::from_secs(30);

struct Handle {
    words: watch::Sender<Word>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Every pod that has a worker, as last seen; for the server.
pub(crate) type Known = Arc<parking_lot::RwLock<HashMap<String, Arc<Pod>>>>;

struct Pods {
    kubelet: Arc<Kubelet>,
    known: Known,
    workers: HashMap<String, Handle>,
    /// Collected while the watch lists anew.
    listed: HashSet<String>,
    synced: bool,
    seen: HashMap<String, u64>,
    shutdown: CancellationToken,
}

/// Runs until the kubelet stops. Workers end with it; containers do not.
pub(crate) async fn run(
    kubelet: Arc<Kubelet>,
    known: Known,
    mut doomed: mpsc::Receiver<(String, Doom)>,
    shutdown: CancellationToken,
) {
    let api: Api<Pod> = Api::all(kubelet.client.clone());
    let selector = format!("spec.nodeName={}", kubelet.config.node_name);
    let stream = watcher(api, watcher::Config::default().fields(&selector)).default_backoff();
    pin_mut!(stream);
    let mut pods = Pods {
        kubelet,
        known,
        workers: HashMap::new(),
        listed: HashSet::new(),
        synced: false,
        seen: HashMap::new(),
        shutdown: shutdown.clone(),
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut collect = tokio::time::interval(COLLECT);
    collect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            event = stream.next() => match event {
                Some(Ok(event)) => pods.hear(event),
                Some(Err(error)) => tracing::warn!(%error, "cannot watch this node's pods"),
                None => return,
            },
            Some((uid, doom)) = doomed.recv() => pods.doom(&uid, doom),
            _ = look.tick() => pods.look().await,
            _ = collect.tick(), if pods.synced => pods.collect().await,
        }
    }
}

impl Pods {
    fn hear(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.apply(pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<String> =
                    self.workers.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.gone(uid));
                self.synced = true;
            }
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    self.gone(uid);
                }
            }
        }
    }

    fn apply(&mut self, pod: Pod) {
        let Some(id) = PodId::of(&pod) else { return };
        let pod = Arc::new(pod);
        self.known.write().insert(id.uid.clone(), pod.clone());
        if let Some(handle) = self.workers.get(&id.uid) {
            handle.words.send_modify(|word| word.pod = pod);
            return;
        }
        let (words, receiver) = watch::channel(Word { pod: pod.clone(), gone: false, doom: None });
        let wake = Arc::new(Notify::new());
        let uid = id.uid.clone();
        let doom = self.refuse(&id, &pod);
        let worker = Worker::new(self.kubelet.clone(), id, pod, doom);
        let task = tokio::spawn(worker.run(receiver, wake.clone(), self.shutdown.clone()));
        self.workers.insert(uid, Handle { words, wake, task });
    }

    /// Why a pod that is new to this node cannot stay.
    fn refuse(&self, id: &PodId, pod: &Pod) -> Option<Doom> {
        if !admission::is_new(pod) {
            return None;
        }
        let (config, machine) = (&self.kubelet.config, &self.kubelet.machine);
        let room = Room {
            pods: usize::try_from(config.max_pods).unwrap_or(usize::MAX),
            cpu_milli: machine.cpus * 1000,
            memory_bytes: machine.allocatable_memory_bytes(),
        };
        let known = self.known.read();
        let others = known.iter().filter(|(uid, _)| **uid != id.uid).map(|(_, pod)| &**pod);
        let doom = admission::refuse(pod, others, room)?;
        drop(known);
        self.kubelet.events.pod(pod, None, Kind::Warning, doom.event(), doom.message.clone());
        Some(doom)
    }

    fn gone(&mut self, uid: &str) {
        self.known.write().remove(uid);
        if let Some(handle) = self.workers.get(uid) {
            handle.words.send_modify(|word| word.gone = true);
        }
    }

    /// Ends a pod for the node's sake.
    fn doom(&mut self, uid: &str, doom: Doom) {
        if let Some(handle) = self.workers.get(uid) {
            handle.words.send_modify(|word| word.doom = Some(doom));
        }
    }

    /// Wakes the workers of pods in which something has changed since the last look.
    async fn look(&mut self) {
        self.workers.retain(|_, handle| !handle.task.is_finished());
        let runtime = &self.kubelet.runtime;
        let (sandboxes, containers) = match tokio::try_join!(
            runtime.list_pod_sandboxes(HashMap::new()),
            runtime.list_containers(HashMap::new())
        ) {
            Ok(seen) => seen,
            Err(error) => return tracing::warn!(%error, "the runtime does not say what runs"),
        };
        let seen = digest(&sandboxes, &containers);
        for (uid, digest) in &seen {
            if self.seen.get(uid) != Some(digest)
                && let Some(handle) = self.workers.get(uid)
            {
                handle.wake.notify_one();
            }
        }
        for uid in self.seen.keys().filter(|uid| !seen.contains_key(*uid)) {
            if let Some(handle) = self.workers.get(uid) {
                handle.wake.notify_one();
            }
        }
        self.seen = seen;
    }

    async fn collect(&mut self) {
        let known = self.workers.keys().cloned().collect();
        if let Err(error) = garbage::collect(&self.kubelet, &known).await {
            tracing::warn!(%error, "cannot collect garbage");
        }
    }
}

/// One number per pod that changes when a sandbox or container of it does; order does not matter.
fn digest(sandboxes: &[PodSandbox], containers: &[Container]) -> HashMap<String, u64> {
    let mut digests: HashMap<String, u64> = HashMap::new();
    let mut add = |labels: &HashMap<String, String>, id: &str, state: i32| {
        let Some(pod) = PodId::from_labels(labels) else { return };
        let bytes = id.bytes().chain(state.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let digest = digests.entry(pod.uid).or_default();
        *digest = digest.wrapping_add(hash);
    };
    for sandbox in sandboxes {
        add(&sandbox.labels, &sandbox.id, sandbox.state);
    }
    for container in containers {
        add(&container.labels, &container.id, container.state);
    }
    digests
}
