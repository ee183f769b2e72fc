//! Deployments: rolling from one revision of a pod template to the next, by scaling replica sets.

mod conditions;
mod revision;
mod rollout;
mod scale;
mod status;

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};

use crate::Error;
use crate::error::words;
use crate::owned_pods::owner_key;
use crate::owner::{carry_out, claim, controller_of};
use crate::pod::is_terminal;
use crate::pod_template::same;
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Event, Informer, Key, Next, Objects, Queue, Reconcile, Recorder, RequestError,
    is_already_exists, is_not_found,
};
use crate::selector::{is_empty, matches};

use rollout::{Decision, Step, decide};

/// The controller's name.
pub(crate) const NAME: &str = "deployment-controller";

struct Deployments {
    deployments: Arc<Informer<Deployment>>,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
    objects: Objects,
    recorder: Recorder,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let deployments = controller.informer::<Deployment>();
    let sets = controller.informer::<ReplicaSet>();
    let pods = controller.informer::<Pod>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        deployments.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    {
        let (queue, deployments) = (queue.clone(), deployments.clone());
        sets.subscribe(move |change| {
            let owners = change.both().filter_map(|set| owner_key::<Deployment>(&set.metadata));
            owners.for_each(|key| queue.add(key));
            let free = change.new.filter(|set| controller_of(&set.metadata).is_none());
            let Some(free) = free else { return };
            let namespace = free.namespace().unwrap_or_default();
            for deployment in deployments.cache().in_namespace(&namespace) {
                if matches(&deployment.spec.selector, free.metadata.labels.as_ref()) {
                    queue.add(Key::of(&deployment.metadata));
                }
            }
        });
    }
    {
        // Recreating waits for the last old pod to go.
        let (queue, sets, deployments) = (queue.clone(), sets.clone(), deployments.clone());
        pods.subscribe(move |change| {
            let ended = change.new.is_none_or(|pod| is_terminal(pod));
            if !ended {
                return;
            }
            let pod = change.latest();
            let set = owner_key::<ReplicaSet>(&pod.metadata).and_then(|key| sets.cache().get(&key));
            let Some(key) = set.and_then(|set| owner_key::<Deployment>(&set.metadata)) else {
                return;
            };
            let recreates = deployments.cache().get(&key).is_some_and(|d| scale::is_recreate(&d));
            if recreates {
                queue.add(key);
            }
        });
    }
    let (objects, recorder) = (controller.objects(), controller.recorder());
    controller.run(queue, workers, Deployments { deployments, sets, pods, objects, recorder });
}

impl Reconcile for Deployments {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.cache().get(key) else {
            return Ok(Next::Change);
        };
        if is_empty(&deployment.spec.selector) {
            let message =
                "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.record(&*deployment, Event::warning("SelectingAll", message));
            return Ok(Next::Change);
        }
        let sets = self.claimed(&deployment).await?;
        let busy = self.sets_with_pods(&sets);
        let decision = decide(&deployment, &sets, &busy, Timestamp::now());
        let Decision { steps, status, revision, next } = decision;
        for step in steps {
            if let Err(error) = self.carry_out(&deployment, &step).await {
                return self.failed(&deployment, &step, status, error).await;
            }
        }
        self.write(&deployment, status, revision).await?;
        Ok(next.map_or(Next::Change, Next::After))
    }
}

impl Deployments {
    async fn claimed(&self, deployment: &Deployment) -> Result<Vec<ReplicaSet>, Error> {
        let mut claimed = Vec::new();
        for set in self.sets.cache().in_namespace(&deployment.namespace().unwrap_or_default()) {
            let fits = matches(&deployment.spec.selector, set.metadata.labels.as_ref());
            let claim = claim(&deployment.metadata, &set.metadata, fits);
            if carry_out(&self.objects, deployment, &*set, claim).await? {
                claimed.push(ReplicaSet::clone(&set));
            }
        }
        Ok(claimed)
    }

    /// The uids of the sets that have pods which have not ended.
    fn sets_with_pods(&self, sets: &[ReplicaSet]) -> HashSet<String> {
        let uids = sets.iter().filter_map(ResourceExt::uid);
        let busy =
            |uid: &String| self.pods.cache().owned_by(uid).iter().any(|pod| !is_terminal(pod));
        uids.filter(busy).collect()
    }

    async fn carry_out(&self, deployment: &Deployment, step: &Step) -> Result<(), RequestError> {
        match step {
            Step::Create(set) => {
                let created = self.objects.create(&**set).await?;
                let count = scale::replicas(&created);
                if count > 0 {
                    self.tell_scaled(deployment, &created, 0, count);
                }
            }
            Step::Update { set, from } => {
                let updated = self.objects.replace(&**set).await?;
                let to = scale::replicas(&updated);
                if *from != to {
                    self.tell_scaled(deployment, &updated, *from, to);
                }
            }
            Step::Delete(set) => {
                let same = Preconditions { uid: set.uid(), resource_version: None };
                let how = DeleteParams::background().preconditions(same);
                let key = Key::of(&set.metadata);
                if let Err(error) = self.objects.delete::<ReplicaSet>(&key, &how).await
                    && !is_not_found(&error)
                {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        let name = set.name_any();
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.recorder.record(deployment, Event::normal("ScalingReplicaSet", message));
    }

    /// A set that cannot be created is the deployment's trouble to show; a name that is taken by
    /// another template is got round by counting the collision into the next hash.
    async fn failed(
        &self,
        deployment: &Deployment,
        step: &Step,
        status: DeploymentStatus,
        error: RequestError,
    ) -> Result<Next, Error> {
        let Step::Create(set) = step else { return Err(error.into()) };
        if is_namespace_terminating(&error) {
            return Ok(Next::Change);
        }
        let name = set.name_any();
        if is_already_exists(&error) {
            let there: ReplicaSet = self.objects.get(&Key::of(&set.metadata)).await?;
            let owner = controller_of(&there.metadata).map(|owner| &owner.uid);
            let ours = owner == deployment.metadata.uid.as_ref()
                && same(&deployment.spec.template, there.spec.template.as_ref());
            if !ours {
                let collisions = status.collision_count.unwrap_or_default() + 1;
                let status = DeploymentStatus {
                    collision_count: Some(collisions),
                    ..deployment.status.clone().unwrap_or_default()
                };
                self.write(deployment, status, None).await?;
            }
            return Err(Error::Later(format!("replica set {name} is already there")));
        }
        let message = format!("Failed to create new replica set {name:?}: {}", words(&error));
        let old = deployment.status.clone().unwrap_or_default();
        let status = conditions::creation_failed(deployment, old, &message, Timestamp::now());
        self.write(deployment, status, None).await?;
        self.recorder.record(deployment, Event::warning("ReplicaSetCreateError", message));
        Err(error.into())
    }

    async fn write(
        &self,
        deployment: &Deployment,
        status: DeploymentStatus,
        revision: Option<String>,
    ) -> Result<(), Error> {
        let mut new = deployment.clone();
        if let Some(revision) = revision {
            new.annotations_mut().insert(revision::REVISION.into(), revision);
        }
        new.status = Some(status);
        if new == *deployment {
            return Ok(());
        }
        match self.objects.replace_status(&new).await {
            Err(error) if is_not_found(&error) => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }
}
