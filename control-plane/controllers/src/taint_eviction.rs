//! Drives pods off nodes with `NoExecute` taints that they do not tolerate, or not for longer.

mod stay;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use parking_lot::Mutex;

use crate::Error;
use crate::pod::{is_terminating, node_name};
use crate::runtime::{
    Context, Event, Informer, Key, Next, Objects, Queue, Reconcile, Recorder, is_not_found,
};

use stay::{Stay, stay};

/// The controller's name.
pub(crate) const NAME: &str = "taint-eviction-controller";

struct TaintEviction {
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    objects: Objects,
    recorder: Recorder,
    /// Pods that are to go, and since when that is known.
    doomed: Mutex<HashMap<Key, (Option<String>, Timestamp)>>,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let pods = controller.informer::<Pod>();
    let nodes = controller.informer::<Node>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        pods.subscribe(move |change| {
            let placed = |pod: &Arc<Pod>| node_name(pod).to_owned();
            let moved = change.old.map(placed) != change.new.map(placed);
            let tolerations =
                |pod: &Arc<Pod>| pod.spec.as_ref().map(|spec| spec.tolerations.clone());
            if moved || change.old.map(tolerations) != change.new.map(tolerations) {
                queue.add(Key::of(&change.latest().metadata));
            }
        });
    }
    {
        let (queue, pods) = (queue.clone(), pods.clone());
        nodes.subscribe(move |change| {
            if change.old.map(|node| expelling(node)) == change.new.map(|node| expelling(node)) {
                return;
            }
            let name = change.latest().name_any();
            let pods = pods.cache().all();
            let here = pods.iter().filter(|pod| node_name(pod) == name);
            here.for_each(|pod| queue.add(Key::of(&pod.metadata)));
        });
    }
    let (objects, recorder) = (controller.objects(), controller.recorder());
    let doomed = Mutex::default();
    controller.run(queue, workers, TaintEviction { pods, nodes, objects, recorder, doomed });
}

/// The node's taints that drive pods off.
fn expelling(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

impl Reconcile for TaintEviction {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let pod = self.pods.cache().get(key).filter(|pod| !is_terminating(pod));
        let node = pod.as_ref().filter(|pod| !node_name(pod).is_empty());
        let node = node.and_then(|pod| self.nodes.cache().get(&Key::cluster(node_name(pod))));
        let (Some(pod), Some(node)) = (pod, node) else {
            self.doomed.lock().remove(key);
            return Ok(Next::Change);
        };
        let now = Timestamp::now();
        let since =
            self.doomed.lock().get(key).filter(|(uid, _)| *uid == pod.metadata.uid).map(|d| d.1);
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
        match stay(&expelling(&node), tolerations.unwrap_or_default(), since.unwrap_or(now)) {
            Stay::Forever => {
                if self.doomed.lock().remove(key).is_some() && since.is_some() {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.recorder.record(&*pod, Event::normal("TaintManagerEviction", message));
                }
                Ok(Next::Change)
            }
            Stay::Until(end) if end > now => {
                let entry = (pod.metadata.uid.clone(), since.unwrap_or(now));
                self.doomed.lock().insert(key.clone(), entry);
                Ok(Next::After(Duration::try_from(end.duration_since(now)).unwrap_or_default()))
            }
            Stay::Until(_) => {
                self.evict(key, &pod, now).await?;
                self.doomed.lock().remove(key);
                Ok(Next::Change)
            }
        }
    }
}

impl TaintEviction {
    async fn evict(&self, key: &Key, pod: &Pod, now: Timestamp) -> Result<(), Error> {
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.record(pod, Event::normal("TaintManagerEviction", message));
        match self.objects.replace_status(&marked(pod, now)).await {
            Err(error) if is_not_found(&error) => return Ok(()),
            result => drop(result?),
        }
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let how = DeleteParams::default().preconditions(same);
        match self.objects.delete::<Pod>(key, &how).await {
            Err(error) if is_not_found(&error) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// The pod with the reason for its end.
fn marked(pod: &Pod, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("DeletionByTaintManager".into()),
        message: Some("Taint manager: deleting due to NoExecute taint".into()),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    pod
}
