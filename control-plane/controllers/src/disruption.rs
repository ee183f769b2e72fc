//! Pod disruption budgets: how many pods may be evicted now.

mod budget;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;

use crate::Error;
use crate::owner::{controller_of, controller_of_kind};
use crate::runtime::{Context, Informer, Key, Next, Objects, Queue, Reconcile, is_not_found};
use crate::selector::matches;

use budget::{Scale, status};

/// The controller's name.
pub(crate) const NAME: &str = "disruption-controller";

struct Disruption {
    budgets: Arc<Informer<PodDisruptionBudget>>,
    pods: Arc<Informer<Pod>>,
    deployments: Arc<Informer<Deployment>>,
    replica_sets: Arc<Informer<ReplicaSet>>,
    stateful_sets: Arc<Informer<StatefulSet>>,
    replication: Arc<Informer<ReplicationController>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects) {
    let mut controller = context.controller(NAME, objects);
    let budgets = controller.informer::<PodDisruptionBudget>();
    let pods = controller.informer::<Pod>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        budgets.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    {
        let (queue, budgets) = (queue.clone(), budgets.clone());
        pods.subscribe(move |change| {
            let namespace = change.latest().namespace().unwrap_or_default();
            for budget in budgets.cache().in_namespace(&namespace) {
                if change.both().any(|pod| covers(&budget, pod)) {
                    queue.add(Key::of(&budget.metadata));
                }
            }
        });
    }
    let reconciler = Disruption {
        deployments: controller.informer(),
        replica_sets: controller.informer(),
        stateful_sets: controller.informer(),
        replication: controller.informer(),
        objects: controller.objects(),
        budgets,
        pods,
    };
    controller.run(queue, 1, reconciler);
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| matches(selector, pod.metadata.labels.as_ref()))
}

impl Reconcile for Disruption {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(budget) = self.budgets.cache().get(key) else { return Ok(Next::Change) };
        let pods = self.pods.cache().in_namespace(&key.namespace);
        let pods: Vec<_> = pods.into_iter().filter(|pod| covers(&budget, pod)).collect();
        let scale = self.scale_of(&pods);
        let now = Timestamp::now();
        let status = status(&budget, &pods, scale, now);
        let marked = status.disrupted_pods.as_ref().is_some_and(|marked| !marked.is_empty());
        if budget.status.as_ref() != Some(&status) {
            let new =
                PodDisruptionBudget { status: Some(status), ..PodDisruptionBudget::clone(&budget) };
            match self.objects.replace_status(&new).await {
                Err(error) if is_not_found(&error) => {}
                result => drop(result?),
            }
        }
        // A pod marked for eviction that stays is counted again after a while.
        Ok(if marked { Next::After(Duration::from_secs(30)) } else { Next::Change })
    }
}

impl Disruption {
    /// How many pods the owners of these want together.
    fn scale_of(&self, pods: &[Arc<Pod>]) -> Scale {
        let mut wanted: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else { continue };
            let found = self.owner_scale(pod, &owner.name);
            let Some((uid, replicas)) = found else {
                return Scale::Unknown(format!("{} {}", owner.kind, owner.name));
            };
            wanted.insert(uid, replicas);
        }
        Scale::Known(wanted.into_values().sum())
    }

    fn owner_scale(&self, pod: &Pod, name: &str) -> Option<(String, i32)> {
        let key = Key::new(pod.namespace().unwrap_or_default(), name);
        let meta = &pod.metadata;
        if controller_of_kind::<ReplicaSet>(meta).is_some() {
            let set = self.replica_sets.cache().get(&key)?;
            if let Some(owner) = controller_of_kind::<Deployment>(&set.metadata) {
                let key = Key::new(&key.namespace, &owner.name);
                let deployment = self.deployments.cache().get(&key)?;
                return Some((deployment.uid()?, deployment.spec.replicas.unwrap_or(1)));
            }
            return Some((set.uid()?, set.spec.replicas.unwrap_or(1)));
        }
        if controller_of_kind::<StatefulSet>(meta).is_some() {
            let set = self.stateful_sets.cache().get(&key)?;
            return Some((set.uid()?, set.spec.replicas.unwrap_or(1)));
        }
        if controller_of_kind::<ReplicationController>(meta).is_some() {
            let controller = self.replication.cache().get(&key)?;
            let replicas = controller.spec.as_ref().and_then(|spec| spec.replicas);
            return Some((controller.uid()?, replicas.unwrap_or(1)));
        }
        None
    }
}
