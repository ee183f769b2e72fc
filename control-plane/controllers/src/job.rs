//! Jobs: pods that run to their end, as often as asked for.
//!
//! Every ended pod is counted exactly once: it keeps a finalizer until its uid stands in the job's
//! status, and its uid stands there until the finalizer is gone.

mod failure_policy;
mod indexes;
mod ledger;
mod plan;
mod pod;
mod verdict;

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::Patch;
use serde_json::{Value, json};

use crate::Error;
use crate::owned_pods::{self, owner_key};
use crate::owner::{Claim, carry_out, claim, controller_of, release_patch};
use crate::pod::is_terminating;
use crate::pod_writer::{PodWriter, is_namespace_terminating};
use crate::runtime::{
    Context, Expectations, Informer, Key, Next, Objects, Queue, Reconcile, is_not_found,
};
use crate::selector::matches;

use plan::{Decision, decide};
use pod::{has_finalizer, without_finalizer};
use verdict::is_finished;

/// The controller's name.
pub(crate) const NAME: &str = "job-controller";

struct Jobs {
    jobs: Arc<Informer<Job>>,
    pods: Arc<Informer<Pod>>,
    expectations: Arc<Expectations>,
    writer: PodWriter,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let jobs = controller.informer::<Job>();
    let pods = controller.informer::<Pod>();
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    {
        let (queue, expectations) = (queue.clone(), expectations.clone());
        jobs.subscribe(move |change| {
            let key = Key::of(&change.latest().metadata);
            if change.new.is_none() {
                expectations.forget(&key);
            }
            queue.add(key);
        });
    }
    owned_pods::follow(&pods, &jobs, &queue, &expectations, |job: &Job| {
        job.spec.as_ref().and_then(|spec| spec.selector.clone())
    });
    let writer = PodWriter { objects: controller.objects(), recorder: controller.recorder() };
    controller.run(queue, workers, Jobs { jobs, pods, expectations, writer });
}

impl Reconcile for Jobs {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(job) = self.jobs.cache().get(key) else {
            self.expectations.forget(key);
            return self.free_pods_of(key).await;
        };
        let Some(spec) = &job.spec else { return Ok(Next::Change) };
        let managed_elsewhere =
            spec.managed_by.as_deref().is_some_and(|by| by != "kubernetes.io/job-controller");
        if managed_elsewhere {
            return Ok(Next::Change);
        }
        let pods = self.claimed(&job).await?;
        if is_finished(&job) {
            let kept: Vec<_> = pods.iter().filter(|pod| has_finalizer(pod)).collect();
            self.free(&kept).await?;
            return Ok(Next::Change);
        }
        let settled = self.expectations.met(key);
        let decision = decide(&job, &pods, settled, Timestamp::now());
        self.carry_out(key, &job, &pods, decision).await
    }
}

impl Jobs {
    async fn claimed(&self, job: &Job) -> Result<Vec<Arc<Pod>>, Error> {
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.clone());
        let Some(selector) = selector else { return Ok(Vec::new()) };
        let mut claimed = Vec::new();
        for pod in self.pods.cache().in_namespace(&job.namespace().unwrap_or_default()) {
            let fits = matches(&selector, pod.metadata.labels.as_ref());
            let claim = claim(&job.metadata, &pod.metadata, fits);
            // Whoever counts it from now on, it is not this job.
            if claim == Claim::Release && has_finalizer(&pod) {
                let owners = release_patch(&job.metadata, &pod.metadata);
                self.patch_without_finalizer(&pod, owners).await?;
                continue;
            }
            // Somebody took its owner away, and nobody adopts what is being deleted.
            if controller_of(&pod.metadata).is_none() && is_terminating(&pod) {
                self.free(&[&pod]).await?;
                continue;
            }
            if carry_out(&self.writer.objects, job, &*pod, claim).await? {
                claimed.push(pod);
            }
        }
        Ok(claimed)
    }

    async fn carry_out(
        &self,
        key: &Key,
        job: &Job,
        pods: &[Arc<Pod>],
        decision: Decision,
    ) -> Result<Next, Error> {
        let Decision { status, create, delete, free, events, next } = decision;
        self.write_status(job, status).await?;
        events.into_iter().for_each(|event| self.writer.recorder.record(job, event));
        // Only now that their uids are written down may the pods go.
        let kept: Vec<_> = pods.iter().filter(|pod| free.contains(&pod.metadata.uid)).collect();
        self.free(&kept).await?;
        if create.is_empty() && delete.is_empty() {
            return Ok(next.map_or(Next::Change, Next::After));
        }
        let doomed = delete.iter().filter_map(|pod| pod.uid());
        self.expectations.expect(key, create.len(), doomed);
        let (made, error) = self.writer.create_slowly(job, &create).await;
        self.expectations.created_many(key, create.len() - made);
        let deletions = delete.iter().map(|pod| async {
            let result = self.writer.delete(job, pod).await;
            if result.is_err() {
                self.expectations.deleted(key, &pod.uid().unwrap_or_default());
            }
            result
        });
        let failed = join_all(deletions).await.into_iter().filter_map(Result::err);
        let failed = failed.filter(|error| !is_not_found(error));
        let error = error.filter(|error| !is_namespace_terminating(error)).into_iter();
        match error.chain(failed).next() {
            Some(error) => Err(error.into()),
            None => Ok(next.map_or(Next::Change, Next::After)),
        }
    }

    async fn write_status(&self, job: &Job, status: JobStatus) -> Result<(), Error> {
        if job.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let new = Job { status: Some(status), ..job.clone() };
        self.writer.objects.replace_status(&new).await?;
        Ok(())
    }

    /// Lets go of the pods of a job that is no more.
    async fn free_pods_of(&self, key: &Key) -> Result<Next, Error> {
        let pods = self.pods.cache().in_namespace(&key.namespace);
        let orphaned = pods.iter().filter(|pod| {
            has_finalizer(pod) && owner_key::<Job>(&pod.metadata).as_ref() == Some(key)
        });
        self.free(&orphaned.collect::<Vec<_>>()).await?;
        Ok(Next::Change)
    }

    async fn free(&self, pods: &[&Arc<Pod>]) -> Result<(), Error> {
        let patches = pods.iter().filter(|pod| has_finalizer(pod)).map(|pod| async {
            let patch = json!({ "metadata": {
                "uid": pod.metadata.uid,
                "resourceVersion": pod.metadata.resource_version,
            }});
            self.patch_without_finalizer(pod, patch).await
        });
        join_all(patches).await.into_iter().collect()
    }

    /// Patches a pod, which is counted no more.
    async fn patch_without_finalizer(&self, pod: &Pod, mut patch: Value) -> Result<(), Error> {
        patch["metadata"]["finalizers"] = json!(without_finalizer(pod));
        let key = Key::of(&pod.metadata);
        match self.writer.objects.patch::<Pod, _>(&key, "", &Patch::Merge(patch)).await {
            Err(error) if is_not_found(&error) => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }
}
