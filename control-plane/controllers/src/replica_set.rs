//! Replica sets and replication controllers: as many pods as asked for, no more and no fewer.

mod kind;
mod plan;
mod ranking;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::ResourceExt;

use crate::Error;
use crate::error::words;
use crate::owned_pods;
use crate::owner::{Claim, carry_out, claim};
use crate::pod::{is_active, is_terminating};
use crate::pod_writer::{PodWriter, from_template, is_namespace_terminating};
use crate::runtime::{
    Context, Expectations, Informer, Key, Next, Objects, Queue, Reconcile, RequestError,
    is_not_found,
};
use crate::selector::matches;

use kind::ReplicaOwner;
use plan::{Plan, plan};
use status::{Failure, next_check, status};

/// The name of the controller of replica sets.
pub(crate) const NAME: &str = "replicaset-controller";
/// The name of the controller of replication controllers.
pub(crate) const REPLICATION_NAME: &str = "replicationcontroller-controller";

struct ReplicaSets<O> {
    owners: Arc<Informer<O>>,
    pods: Arc<Informer<Pod>>,
    expectations: Arc<Expectations>,
    writer: PodWriter,
}

/// Sets up the controller of replica sets.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    set_up_kind::<ReplicaSet>(context, objects, workers);
}

/// Sets up the controller of replication controllers.
pub(crate) fn set_up_replication(context: &mut Context, objects: Objects, workers: usize) {
    set_up_kind::<ReplicationController>(context, objects, workers);
}

fn set_up_kind<O: ReplicaOwner>(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(O::CONTROLLER, objects);
    let owners = controller.informer::<O>();
    let pods = controller.informer::<Pod>();
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    {
        let (queue, expectations) = (queue.clone(), expectations.clone());
        owners.subscribe(move |change| {
            let key = Key::of(change.latest().meta());
            let same =
                change.old.map(|old| &old.meta().uid) == change.new.map(|new| &new.meta().uid);
            if change.old.is_some() && !same {
                expectations.forget(&key);
            }
            queue.add(key);
        });
    }
    owned_pods::follow(&pods, &owners, &queue, &expectations, O::selector);
    let writer = PodWriter { objects: controller.objects(), recorder: controller.recorder() };
    controller.run(queue, workers, ReplicaSets { owners, pods, expectations, writer });
}

impl<O: ReplicaOwner> Reconcile for ReplicaSets<O> {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(owner) = self.owners.cache().get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Change);
        };
        let set = owner.as_replica_set();
        let settled = self.expectations.met(key);
        let (active, terminating) = self.claimed(&*owner, &set).await?;
        let now = Timestamp::now();
        let failure = if settled && set.metadata.deletion_timestamp.is_none() {
            let related = self.related(&*owner, &set);
            self.carry_out(key, &*owner, plan(&set, &active, &related, now)).await
        } else {
            None
        };
        let shown = failure.as_ref().map(|error| Failure { message: words(error) });
        let new =
            status(&set, &active, terminating.len(), shown.as_ref(), O::COUNTS_TERMINATING, now);
        self.write_status(&*owner, &set, &new).await?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        Ok(next_check(&set, &active, now).map_or(Next::Change, Next::After))
    }
}

impl<O: ReplicaOwner> ReplicaSets<O> {
    /// The owner's pods after adopting and releasing: those that count, and those on their way out.
    async fn claimed(
        &self,
        owner: &O,
        set: &ReplicaSet,
    ) -> Result<(Vec<Arc<Pod>>, Vec<Arc<Pod>>), Error> {
        let (mut active, mut terminating) = (Vec::new(), Vec::new());
        for pod in self.pods.cache().in_namespace(&owner.namespace().unwrap_or_default()) {
            let fits = matches(&set.spec.selector, pod.metadata.labels.as_ref());
            let claim = claim(owner.meta(), &pod.metadata, fits);
            if is_terminating(&pod) {
                if claim == Claim::Keep {
                    terminating.push(pod);
                }
            } else if is_active(&pod)
                && carry_out(&self.writer.objects, owner, &*pod, claim).await?
            {
                active.push(pod);
            }
        }
        Ok((active, terminating))
    }

    /// The pods of all sets under the same owner: a deployment's other revisions.
    fn related(&self, owner: &O, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let siblings = match crate::owner::controller_of(owner.meta()) {
            Some(parent) => self.owners.cache().owned_by(&parent.uid),
            None => self.owners.cache().get(&Key::of(&set.metadata)).into_iter().collect(),
        };
        let uids = siblings.iter().filter_map(|sibling| sibling.meta().uid.as_deref());
        uids.flat_map(|uid| self.pods.cache().owned_by(uid)).collect()
    }

    async fn carry_out(&self, key: &Key, owner: &O, plan: Plan) -> Option<RequestError> {
        match plan {
            Plan::Nothing => None,
            Plan::Create { count, template } => {
                self.expectations.expect_creations(key, count);
                let pods = vec![from_template(owner, &template); count];
                let (made, error) = self.writer.create_slowly(owner, &pods).await;
                self.expectations.created_many(key, count - made);
                error.filter(|error| !is_namespace_terminating(error))
            }
            Plan::Delete(pods) => {
                let uids = pods.iter().filter_map(|pod| pod.metadata.uid.clone());
                self.expectations.expect_deletions(key, uids);
                let deletions = pods.iter().map(|pod| async {
                    let result = self.writer.delete(owner, pod).await;
                    if result.is_err() {
                        self.expectations.deleted(key, &pod.uid().unwrap_or_default());
                    }
                    result
                });
                let failures = join_all(deletions).await.into_iter().filter_map(Result::err);
                failures.into_iter().find(|error| !is_not_found(error))
            }
        }
    }

    async fn write_status(
        &self,
        owner: &O,
        set: &ReplicaSet,
        new: &k8s_openapi::api::apps::v1::ReplicaSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref() == Some(new) {
            return Ok(());
        }
        match self.writer.objects.replace_status(&owner.with_status(new)).await {
            Err(error) if is_not_found(&error) => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }
}

/// How long until the first of the ready pods becomes available.
fn soonest(waits: impl Iterator<Item = Duration>) -> Option<Duration> {
    waits.filter(|wait| !wait.is_zero()).min()
}
