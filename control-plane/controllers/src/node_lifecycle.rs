//! Nodes that fall silent: their state becomes unknown, their taints say so, and their pods no
//! longer count as ready.

mod health;
mod taints;
mod zone;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::Patch;
use parking_lot::Mutex;
use serde_json::json;
use tracing::debug;

use crate::Error;
use crate::pod::{is_ready, node_name};
use crate::runtime::{
    Context, Event, Informer, Key, Next, Objects, Queue, Reconcile, Recorder, is_conflict,
    is_not_found,
};

use health::{Patience, Probe, lost_contact, ready_status};
use taints::{Reach, reach, wanted_taints};
use zone::{Zones, zone_of};

/// The controller's name.
pub(crate) const NAME: &str = "node-lifecycle-controller";

const LEASE_NAMESPACE: &str = "kube-node-lease";

struct NodeLifecycle {
    nodes: Arc<Informer<Node>>,
    leases: Arc<Informer<Lease>>,
    pods: Arc<Informer<Pod>>,
    objects: Objects,
    recorder: Recorder,
    probes: Mutex<HashMap<String, Probe>>,
    zones: Mutex<Zones>,
    period: Duration,
    patience: Patience,
}

/// Sets up the controller; a node may be silent for `grace`, and is looked at every `period`.
pub(crate) fn set_up(context: &mut Context, objects: Objects, period: Duration, grace: Duration) {
    let mut controller = context.controller(NAME, objects);
    let nodes = controller.informer::<Node>();
    let leases = controller.informer::<Lease>();
    let pods = controller.informer::<Pod>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        nodes.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    let reconciler = NodeLifecycle {
        nodes,
        leases,
        pods,
        objects: controller.objects(),
        recorder: controller.recorder(),
        probes: Mutex::default(),
        zones: Mutex::default(),
        period,
        patience: Patience::new(grace),
    };
    controller.run(queue, 4, reconciler);
}

impl Reconcile for NodeLifecycle {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.cache().get(key) else {
            self.probes.lock().remove(&key.name);
            return Ok(Next::Change);
        };
        let now = Timestamp::now();
        let lease = self.leases.cache().get(&Key::new(LEASE_NAMESPACE, &key.name));
        let probe = self.probe(&node, lease.as_deref(), now);
        let node = match lost_contact(&node, probe, self.patience, now) {
            None => node,
            Some(lost) => match self.objects.replace_status(&lost).await {
                Err(error) if is_not_found(&error) => return Ok(Next::Change),
                result => Arc::new(result?),
            },
        };
        if probe.was_ready && ready_status(&node) != "True" {
            let message = format!("Node {} status is now: NodeNotReady", key.name);
            self.recorder.record(&*node, Event::normal("NodeNotReady", message));
            self.mark_pods_not_ready(&key.name, now).await?;
        }
        let ready = ready_status(&node) == "True";
        if let Some(probe) = self.probes.lock().get_mut(&key.name) {
            probe.was_ready = ready;
        }
        self.write_taints(&node, now).await?;
        Ok(Next::After(self.period))
    }
}

impl NodeLifecycle {
    /// What was last heard of the node; the first time, the node is announced.
    fn probe(&self, node: &Node, lease: Option<&Lease>, now: Timestamp) -> Probe {
        let mut probes = self.probes.lock();
        let name = node.name_any();
        let probe = probes.entry(name.clone()).or_insert_with(|| {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.recorder.record(node, Event::normal("RegisteredNode", message));
            Probe::new(node, lease, now)
        });
        probe.hear(node, lease, now);
        *probe
    }

    async fn write_taints(&self, node: &Node, now: Timestamp) -> Result<(), Error> {
        let may_evict = match reach(node) {
            Reach::Ready => true,
            _ => self.zones.lock().may_evict(&zone_of(node), &self.nodes.cache().all(), now),
        };
        let Some(taints) = wanted_taints(node, may_evict, now) else { return Ok(()) };
        let patch = json!({
            "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        });
        match self
            .objects
            .patch::<Node, _>(&Key::of(&node.metadata), "", &Patch::Merge(patch))
            .await
        {
            Err(error) if is_not_found(&error) => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }

    /// Takes the pods of a node out of their services: nobody knows whether they still answer.
    async fn mark_pods_not_ready(&self, node: &str, now: Timestamp) -> Result<(), Error> {
        let pods = self.pods.cache().all();
        let here = pods.iter().filter(|pod| node_name(pod) == node && is_ready(pod));
        let writes = here.map(|pod| async {
            let not_ready = not_ready(pod, now);
            match self.objects.replace_status(&not_ready).await {
                Err(error) if is_not_found(&error) || is_conflict(&error) => {
                    debug!(%error, "pod changed meanwhile");
                    Ok(())
                }
                result => result.map(drop),
            }
        });
        join_all(writes).await.into_iter().collect::<Result<(), _>>()?;
        Ok(())
    }
}

fn not_ready(pod: &Pod, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    let conditions =
        pod.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten());
    for condition in conditions.filter(|condition| condition.type_ == "Ready") {
        condition.status = "False".into();
        condition.last_transition_time = Some(Time(now));
    }
    pod
}
