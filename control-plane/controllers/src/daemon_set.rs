//! Daemon sets: one pod on every node that fits.

mod node;
mod plan;
mod status;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use crate::Error;
use crate::history::{self, HASH_LABEL};
use crate::owned_pods;
use crate::owner::{carry_out, claim};
use crate::pod_writer::{PodWriter, is_namespace_terminating};
use crate::runtime::{
    Context, Event, Expectations, Informer, Key, Next, Objects, Queue, Reconcile, is_not_found,
};
use crate::selector::{is_empty, matches};

use plan::{Plan, manage, roll};
use template::{daemon_pod, node_of};

/// The controller's name.
pub(crate) const NAME: &str = "daemonset-controller";

struct DaemonSets {
    sets: Arc<Informer<DaemonSet>>,
    nodes: Arc<Informer<Node>>,
    pods: Arc<Informer<Pod>>,
    revisions: Arc<Informer<ControllerRevision>>,
    expectations: Arc<Expectations>,
    writer: PodWriter,
}

/// A node's name, and the set's pods on it.
type PodsByNode = BTreeMap<String, Vec<Arc<Pod>>>;

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let sets = controller.informer::<DaemonSet>();
    let nodes = controller.informer::<Node>();
    let pods = controller.informer::<Pod>();
    let revisions = controller.informer::<ControllerRevision>();
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    {
        let (queue, expectations) = (queue.clone(), expectations.clone());
        sets.subscribe(move |change| {
            let key = Key::of(&change.latest().metadata);
            if change.new.is_none() {
                expectations.forget(&key);
            }
            queue.add(key);
        });
    }
    owned_pods::follow(&pods, &sets, &queue, &expectations, |set: &DaemonSet| {
        Some(set.spec.selector.clone())
    });
    {
        let (queue, sets) = (queue.clone(), sets.clone());
        nodes.subscribe(move |change| {
            if let (Some(old), Some(new)) = (change.old, change.new)
                && !node::differs(old, new)
            {
                return;
            }
            sets.cache().keys().into_iter().for_each(|key| queue.add(key));
        });
    }
    let writer = PodWriter { objects: controller.objects(), recorder: controller.recorder() };
    let reconciler = DaemonSets { sets, nodes, pods, revisions, expectations, writer };
    controller.run(queue, workers, reconciler);
}

impl Reconcile for DaemonSets {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.cache().get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Change);
        };
        if is_empty(&set.spec.selector) {
            let message =
                "This daemon set is selecting all pods. A non-empty selector is required.";
            self.writer.recorder.record(&*set, Event::warning("SelectingAll", message));
            return Ok(Next::Change);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let objects = &self.writer.objects;
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let known = self.claimed_revisions(&set).await?;
        let history =
            match history::keep(objects, &*set, known, &set.spec.template, collisions).await {
                Err(Error::Collision) => return self.count_collision(&set, collisions).await,
                result => result?,
            };
        let nodes = self.nodes.cache().all();
        let pods = self.claimed_pods(&set).await?;
        let now = Timestamp::now();
        let mut failure = None;
        let mut next = Next::Change;
        if self.expectations.met(key) {
            let mut plan = manage(&set, &nodes, &pods, history.hash(), now);
            if plan.is_empty() {
                plan = roll(&set, &nodes, &pods, history.hash(), now);
            }
            next = plan.look_again.map_or(Next::Change, Next::After);
            failure = self.carry_out(key, &set, plan, history.hash()).await.err();
        }
        let in_use = |revision: &ControllerRevision| {
            let hash = revision.labels().get(HASH_LABEL);
            pods.values().flatten().any(|pod| pod.labels().get(HASH_LABEL) == hash)
        };
        history.trim(objects, set.spec.revision_history_limit, in_use).await?;
        let status = status::status(&set, &nodes, &pods, history.hash(), now);
        let min_ready = set.spec.min_ready_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        if let Some(seconds) = min_ready.filter(|seconds| *seconds > 0)
            && Some(status.number_ready).filter(|ready| *ready > 0) != status.number_available
        {
            next = Next::After(Duration::from_secs(seconds));
        }
        self.write_status(&set, status).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(next),
        }
    }
}

impl DaemonSets {
    async fn claimed_pods(&self, set: &DaemonSet) -> Result<PodsByNode, Error> {
        let mut by_node = PodsByNode::new();
        for pod in self.pods.cache().in_namespace(&set.namespace().unwrap_or_default()) {
            let fits = matches(&set.spec.selector, pod.metadata.labels.as_ref());
            let claim = claim(&set.metadata, &pod.metadata, fits);
            if carry_out(&self.writer.objects, set, &*pod, claim).await?
                && let Some(node) = node_of(&pod)
            {
                by_node.entry(node).or_default().push(pod);
            }
        }
        Ok(by_node)
    }

    async fn claimed_revisions(&self, set: &DaemonSet) -> Result<Vec<ControllerRevision>, Error> {
        let mut claimed = Vec::new();
        let namespace = set.namespace().unwrap_or_default();
        for revision in self.revisions.cache().in_namespace(&namespace) {
            let fits = matches(&set.spec.selector, revision.metadata.labels.as_ref());
            let claim = claim(&set.metadata, &revision.metadata, fits);
            if carry_out(&self.writer.objects, set, &*revision, claim).await? {
                claimed.push(ControllerRevision::clone(&revision));
            }
        }
        Ok(claimed)
    }

    async fn carry_out(
        &self,
        key: &Key,
        set: &DaemonSet,
        plan: Plan,
        hash: &str,
    ) -> Result<(), Error> {
        for event in plan.events {
            self.writer.recorder.record(set, event);
        }
        let doomed = plan.delete.iter().filter_map(|pod| pod.uid());
        self.expectations.expect(key, plan.create.len(), doomed);
        let pods: Vec<Pod> = plan.create.iter().map(|node| daemon_pod(set, node, hash)).collect();
        let (made, error) = self.writer.create_slowly(set, &pods).await;
        self.expectations.created_many(key, pods.len() - made);
        let deletions = plan.delete.iter().map(|pod| async {
            let result = self.writer.delete(set, pod).await;
            if result.is_err() {
                self.expectations.deleted(key, &pod.uid().unwrap_or_default());
            }
            result
        });
        let failed = join_all(deletions).await.into_iter().filter_map(Result::err);
        let failed = failed.filter(|error| !is_not_found(error));
        let error = error.filter(|error| !is_namespace_terminating(error)).into_iter();
        error.chain(failed).next().map_or(Ok(()), |error| Err(error.into()))
    }

    async fn count_collision(&self, set: &DaemonSet, known: Option<i32>) -> Result<Next, Error> {
        let status = DaemonSetStatus {
            collision_count: Some(known.unwrap_or_default() + 1),
            ..set.status.clone().unwrap_or_default()
        };
        self.write_status(set, status).await?;
        Ok(Next::Change)
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let new = DaemonSet { status: Some(status), ..set.clone() };
        match self.writer.objects.replace_status(&new).await {
            Err(error) if is_not_found(&error) => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }
}
