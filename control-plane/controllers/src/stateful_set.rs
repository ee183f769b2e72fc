//! Stateful sets: pods with names and storage of their own, made and replaced in order.

mod identity;
mod plan;
mod status;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};

use crate::Error;
use crate::error::words;
use crate::history::{self, History, template_of};
use crate::owned_pods;
use crate::owner::{carry_out, claim};
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Event, Expectations, Informer, Key, Next, Objects, Queue, Reconcile, Recorder,
    is_already_exists, is_not_found,
};
use crate::selector::{is_empty, matches};

use identity::{claims_of, ordinal, revision_of};
use plan::{Revisions, Step, plan};

/// The controller's name.
pub(crate) const NAME: &str = "statefulset-controller";

struct StatefulSets {
    sets: Arc<Informer<StatefulSet>>,
    pods: Arc<Informer<Pod>>,
    revisions: Arc<Informer<ControllerRevision>>,
    objects: Objects,
    recorder: Recorder,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let sets = controller.informer::<StatefulSet>();
    let pods = controller.informer::<Pod>();
    let revisions = controller.informer::<ControllerRevision>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        sets.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    // Names are known beforehand, so nothing can be made twice and nothing has to be expected.
    let expectations = Arc::new(Expectations::default());
    owned_pods::follow(&pods, &sets, &queue, &expectations, |set: &StatefulSet| {
        Some(set.spec.selector.clone())
    });
    let (objects, recorder) = (controller.objects(), controller.recorder());
    controller.run(queue, workers, StatefulSets { sets, pods, revisions, objects, recorder });
}

impl Reconcile for StatefulSets {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(set) = self.sets.cache().get(key) else { return Ok(Next::Change) };
        let spec = &set.spec;
        if is_empty(&spec.selector) {
            return Ok(Next::Change);
        }
        let pods = self.claimed_pods(&set).await?;
        let old = set.status.clone().unwrap_or_default();
        let known = self.claimed_revisions(&set).await?;
        let kept =
            history::keep(&self.objects, &*set, known, &spec.template, old.collision_count).await;
        let history = match kept {
            Err(Error::Collision) => {
                let collisions = old.collision_count.unwrap_or_default() + 1;
                let status = StatefulSetStatus { collision_count: Some(collisions), ..old };
                self.write_status(&set, status).await?;
                return Ok(Next::Change);
            }
            result => result?,
        };
        let revisions = revisions(&history, &old)?;
        let now = Timestamp::now();
        let mut outcome = Ok(());
        if set.metadata.deletion_timestamp.is_none() {
            for step in plan(&set, &pods, &revisions, now) {
                outcome = self.carry_out(&set, step).await;
                if outcome.is_err() {
                    break;
                }
            }
        }
        let status = status::status(&set, &pods, &revisions, now);
        let in_use = |revision: &ControllerRevision| {
            let name = revision.metadata.name.as_deref();
            name == Some(&revisions.current)
                || pods.iter().any(|pod| revision_of(pod) == name && name.is_some())
        };
        history.trim(&self.objects, spec.revision_history_limit, in_use).await?;
        let settled = status.ready_replicas == status.available_replicas;
        self.write_status(&set, status).await?;
        outcome?;
        let min_ready = spec.min_ready_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(match min_ready.filter(|seconds| *seconds > 0 && !settled) {
            Some(seconds) => Next::After(Duration::from_secs(seconds)),
            None => Next::Change,
        })
    }
}

/// The revision pods are updated to, and the one they are updated from.
fn revisions(history: &History, status: &StatefulSetStatus) -> Result<Revisions, Error> {
    let update = history.current.name_any();
    let current = status.current_revision.as_deref().and_then(|name| {
        history.old.iter().find(|revision| revision.metadata.name.as_deref() == Some(name))
    });
    let current = current.unwrap_or(&history.current);
    let template = |revision: &ControllerRevision| {
        template_of(revision).ok_or_else(|| {
            Error::Object(format!("revision {} holds no template", revision.name_any()))
        })
    };
    Ok(Revisions {
        current: current.name_any(),
        current_template: template(current)?,
        update,
        update_template: template(&history.current)?,
    })
}

impl StatefulSets {
    /// The set's pods in the order of their ordinals.
    async fn claimed_pods(&self, set: &StatefulSet) -> Result<Vec<Arc<Pod>>, Error> {
        let mut claimed = Vec::new();
        for pod in self.pods.cache().in_namespace(&set.namespace().unwrap_or_default()) {
            let named = ordinal(set, &pod).is_some();
            let fits = named && matches(&set.spec.selector, pod.metadata.labels.as_ref());
            let claim = claim(&set.metadata, &pod.metadata, fits);
            if carry_out(&self.objects, set, &*pod, claim).await? {
                claimed.push(pod);
            }
        }
        claimed.sort_by_key(|pod| ordinal(set, pod));
        Ok(claimed)
    }

    async fn claimed_revisions(&self, set: &StatefulSet) -> Result<Vec<ControllerRevision>, Error> {
        let namespace = set.namespace().unwrap_or_default();
        let mut claimed = Vec::new();
        for revision in self.revisions.cache().in_namespace(&namespace) {
            let fits = matches(&set.spec.selector, revision.metadata.labels.as_ref());
            let claim = claim(&set.metadata, &revision.metadata, fits);
            if carry_out(&self.objects, set, &*revision, claim).await? {
                claimed.push(ControllerRevision::clone(&revision));
            }
        }
        Ok(claimed)
    }

    async fn carry_out(&self, set: &StatefulSet, step: Step) -> Result<(), Error> {
        match step {
            Step::Create(pod) => self.create(set, &pod).await,
            Step::Delete(pod) => self.delete(set, &pod).await,
            Step::Correct(pod) => match self.objects.replace(&*pod).await {
                Err(error) if is_not_found(&error) => Ok(()),
                result => result.map(drop).map_err(Error::from),
            },
        }
    }

    async fn create(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let (name, owner) = (pod.name_any(), set.name_any());
        for claim in claims_of(set, pod) {
            self.create_claim(set, &name, &claim).await?;
        }
        match self.objects.create(pod).await {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {owner} successful");
                self.recorder.record(set, Event::normal("SuccessfulCreate", message));
                Ok(())
            }
            // It has only just been made, or the old one is not quite gone.
            Err(error) if is_already_exists(&error) => {
                Err(Error::Later(format!("pod {name} is still there")))
            }
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let message = format!(
                    "create Pod {name} in StatefulSet {owner} failed error: {}",
                    words(&error)
                );
                self.recorder.record(set, Event::warning("FailedCreate", message));
                Err(error.into())
            }
        }
    }

    async fn create_claim(
        &self,
        set: &StatefulSet,
        pod: &str,
        claim: &PersistentVolumeClaim,
    ) -> Result<(), Error> {
        match self.objects.create(claim).await {
            Ok(_) => {
                let (name, owner) = (claim.name_any(), set.name_any());
                let message =
                    format!("create Claim {name} Pod {pod} in StatefulSet {owner} success");
                self.recorder.record(set, Event::normal("SuccessfulCreate", message));
                Ok(())
            }
            Err(error) if is_already_exists(&error) || is_namespace_terminating(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let same = Preconditions { uid: pod.uid(), resource_version: None };
        let how = DeleteParams::default().preconditions(same);
        match self.objects.delete::<Pod>(&Key::of(&pod.metadata), &how).await {
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => {
                let (name, owner) = (pod.name_any(), set.name_any());
                let message = format!("delete Pod {name} in StatefulSet {owner} successful");
                self.recorder.record(set, Event::normal("SuccessfulDelete", message));
                Ok(())
            }
        }
    }

    async fn write_status(
        &self,
        set: &StatefulSet,
        status: StatefulSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let new = StatefulSet { status: Some(status), ..set.clone() };
        match self.objects.replace_status(&new).await {
            Err(error) if is_not_found(&error) => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }
}
