//! What a stateful set does next. In order (the default) at most one pod is on its way at a time: up
//! from the lowest, down and through updates from the highest.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use super::identity::{first_ordinal, identify, new_pod, ordinal, revision_of};
use crate::int_or_percent::{Round, resolve};
use crate::pod::{is_available, is_terminal, is_terminating, phase};

/// The revision pods are updated to, and the one they are updated from.
#[derive(Clone, Debug)]
pub(super) struct Revisions {
    pub(super) current: String,
    pub(super) current_template: PodTemplateSpec,
    pub(super) update: String,
    pub(super) update_template: PodTemplateSpec,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Create(Box<Pod>),
    Delete(Arc<Pod>),
    /// The pod with its labels and volumes put right.
    Correct(Box<Pod>),
}

/// The next steps, given the set's pods in the order of their ordinals.
pub(super) fn plan(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    revisions: &Revisions,
    now: Timestamp,
) -> Vec<Step> {
    let view = View::new(set, pods, now);
    let mut steps = Vec::new();
    if view.fill(revisions, &mut steps) || view.shrink(&mut steps) {
        return steps;
    }
    view.update(revisions, &mut steps);
    steps
}

struct View<'a> {
    set: &'a StatefulSet,
    first: i32,
    /// By place: the pod with each ordinal that is wanted.
    replicas: Vec<Option<&'a Arc<Pod>>>,
    /// Pods beyond those, the highest first.
    condemned: Vec<&'a Arc<Pod>>,
    in_order: bool,
    min_ready: i32,
    now: Timestamp,
}

impl<'a> View<'a> {
    fn new(set: &'a StatefulSet, pods: &'a [Arc<Pod>], now: Timestamp) -> Self {
        let spec = &set.spec;
        let wanted = spec.replicas.unwrap_or(1);
        let first = first_ordinal(set);
        let mut replicas = vec![None; usize::try_from(wanted).unwrap_or_default()];
        let mut condemned = Vec::new();
        for pod in pods {
            let place = ordinal(set, pod).map(|ordinal| usize::try_from(ordinal - first));
            match place {
                Some(Ok(place)) if place < replicas.len() => replicas[place] = Some(pod),
                Some(_) => condemned.push(pod),
                None => {}
            }
        }
        condemned.reverse();
        let in_order = spec.pod_management_policy.as_deref() != Some("Parallel");
        let min_ready = spec.min_ready_seconds.unwrap_or_default();
        Self { set, first, replicas, condemned, in_order, min_ready, now }
    }

    fn ordinal(&self, place: usize) -> i32 {
        self.first.saturating_add(i32::try_from(place).unwrap_or(i32::MAX))
    }

    /// Runs, is available, and is not on its way out.
    fn is_healthy(&self, pod: &Pod) -> bool {
        phase(pod) == "Running"
            && is_available(pod, self.min_ready, self.now)
            && !is_terminating(pod)
    }

    fn rolling(&self) -> Option<&RollingUpdateStatefulSetStrategy> {
        self.set.spec.update_strategy.as_ref()?.rolling_update.as_ref()
    }

    fn strategy(&self) -> &str {
        let strategy = self.set.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate")
    }

    fn partition(&self) -> i32 {
        self.rolling().and_then(|rolling| rolling.partition).unwrap_or_default()
    }

    /// A pod below the partition is made from the revision that the others have.
    fn new_pod(&self, revisions: &Revisions, ordinal: i32) -> Pod {
        let status = self.set.status.as_ref();
        let old = match self.rolling() {
            Some(_) => ordinal < self.first + self.partition(),
            None => {
                let current = status.and_then(|status| status.current_replicas).unwrap_or_default();
                self.strategy() == "RollingUpdate" && ordinal < self.first + current
            }
        };
        if old {
            new_pod(self.set, &revisions.current_template, &revisions.current, ordinal)
        } else {
            new_pod(self.set, &revisions.update_template, &revisions.update, ordinal)
        }
    }

    /// Makes what is missing. Answers whether that is all for now.
    fn fill(&self, revisions: &Revisions, steps: &mut Vec<Step>) -> bool {
        let mut busy = false;
        for (place, pod) in self.replicas.iter().enumerate() {
            let ordinal = self.ordinal(place);
            let Some(pod) = pod else {
                steps.push(Step::Create(Box::new(self.new_pod(revisions, ordinal))));
                if self.in_order {
                    return true;
                }
                continue;
            };
            if is_terminal(pod) {
                if !is_terminating(pod) {
                    steps.push(Step::Delete((*pod).clone()));
                }
                busy = true;
                if self.in_order {
                    return true;
                }
                continue;
            }
            if self.in_order && !self.is_healthy(pod) {
                return true;
            }
            let mut right = Pod::clone(pod);
            identify(self.set, &mut right, ordinal);
            if right != ***pod {
                steps.push(Step::Correct(Box::new(right)));
            }
        }
        busy
    }

    /// Takes away what is too much. Answers whether that is all for now.
    fn shrink(&self, steps: &mut Vec<Step>) -> bool {
        // In order, an unhealthy pod goes only if it is the first of all unhealthy ones: the others
        // have to recover before anything is taken from them.
        let in_order_of_ordinal = self.replicas.iter().flatten().chain(self.condemned.iter().rev());
        let first_unhealthy = { in_order_of_ordinal }.find(|pod| !self.is_healthy(pod));
        for pod in &self.condemned {
            if is_terminating(pod) {
                if self.in_order {
                    return true;
                }
                continue;
            }
            let first = first_unhealthy.is_some_and(|first| Arc::ptr_eq(first, pod));
            if self.in_order && !self.is_healthy(pod) && !first {
                return true;
            }
            steps.push(Step::Delete((*pod).clone()));
            if self.in_order {
                return true;
            }
        }
        !self.condemned.is_empty()
    }

    /// Deletes pods of other revisions, the highest first: they come back as the new one.
    fn update(&self, revisions: &Revisions, steps: &mut Vec<Step>) {
        if self.strategy() != "RollingUpdate" {
            return;
        }
        let total = i32::try_from(self.replicas.len()).unwrap_or(i32::MAX);
        let limit = self.rolling().and_then(|rolling| rolling.max_unavailable.as_ref());
        let limit = limit.and_then(|limit| resolve(limit, total, Round::Up)).unwrap_or(1).max(1);
        let limit = usize::try_from(limit).unwrap_or(1);
        let places = self.replicas.iter().enumerate().rev();
        let placed = places.filter_map(|(place, pod)| Some((self.ordinal(place), (*pod)?)));
        let unavailable = placed.clone().filter(|(_, pod)| !self.is_healthy(pod)).count();
        let outdated = placed.filter(|(ordinal, pod)| {
            *ordinal >= self.first + self.partition()
                && revision_of(pod) != Some(&revisions.update)
                && !is_terminating(pod)
        });
        let (broken, healthy): (Vec<_>, Vec<_>) =
            outdated.map(|(_, pod)| pod).partition(|pod| !self.is_healthy(pod) && !self.in_order);
        let room = limit.saturating_sub(unavailable);
        let chosen = broken.into_iter().chain(healthy.into_iter().take(room));
        steps.extend(chosen.map(|pod| Step::Delete(pod.clone())));
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: &Value) -> StatefulSet {
        let mut whole = json!({
            "selector": {}, "serviceName": "db", "template": {"spec": {"containers": []}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        });
        json_patch::merge(&mut whole, spec);
        serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": whole})).unwrap()
    }

    /// `healthy`, `pending`, `going` or `failed`, of a revision.
    fn pod(set: &StatefulSet, ordinal: i32, state: &str, revision: &str) -> Arc<Pod> {
        let mut pod = new_pod(set, &PodTemplateSpec::default(), revision, ordinal);
        let phase = match state {
            "healthy" | "going" => "Running",
            "failed" => "Failed",
            _ => "Pending",
        };
        let ready = if state == "healthy" { "True" } else { "False" };
        pod.status = serde_json::from_value(
            json!({"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}),
        )
        .unwrap();
        if state == "going" {
            pod.metadata.deletion_timestamp =
                serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        }
        Arc::new(pod)
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        let show = |step: &Step| match step {
            Step::Create(pod) => {
                format!("+{}:{}", pod.name_any(), revision_of(pod).unwrap_or_default())
            }
            Step::Delete(pod) => format!("-{}", pod.name_any()),
            Step::Correct(pod) => format!("={}", pod.name_any()),
        };
        steps.iter().map(show).collect()
    }

    /// A set, the state and revision of its pods by ordinal, and the steps to take.
    type Case = (Value, Vec<(i32, &'static str, &'static str)>, Vec<&'static str>);

    #[test]
    fn one_step_at_a_time_in_order_and_all_at_once_in_parallel() {
        let revisions = Revisions {
            current: "old".into(),
            current_template: PodTemplateSpec::default(),
            update: "new".into(),
            update_template: PodTemplateSpec::default(),
        };
        let parallel = |spec: Value| {
            let mut spec = spec;
            spec["podManagementPolicy"] = json!("Parallel");
            spec
        };
        let partition =
            json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        let on_delete = json!({"replicas": 1, "updateStrategy": {"type": "OnDelete"}});
        let cases: Vec<Case> = vec![
            (json!({"replicas": 2}), vec![], vec!["+db-0:new"]),
            (json!({"replicas": 2}), vec![(0, "pending", "new")], vec![]),
            (json!({"replicas": 2}), vec![(0, "healthy", "new")], vec!["+db-1:new"]),
            (json!({"replicas": 2, "ordinals": {"start": 5}}), vec![], vec!["+db-5:new"]),
            (parallel(json!({"replicas": 2})), vec![], vec!["+db-0:new", "+db-1:new"]),
            (
                json!({"replicas": 2}),
                vec![(0, "failed", "new"), (1, "healthy", "new")],
                vec!["-db-0"],
            ),
            (
                json!({"replicas": 1}),
                vec![(0, "healthy", "new"), (1, "healthy", "new"), (2, "healthy", "new")],
                vec!["-db-2"],
            ),
            (
                json!({"replicas": 1}),
                vec![(0, "healthy", "new"), (1, "healthy", "new"), (2, "going", "new")],
                vec![],
            ),
            (json!({"replicas": 1}), vec![(0, "pending", "new"), (1, "healthy", "new")], vec![]),
            (
                parallel(json!({"replicas": 0})),
                vec![(0, "healthy", "new"), (1, "pending", "new")],
                vec!["-db-1", "-db-0"],
            ),
            (
                json!({"replicas": 2}),
                vec![(0, "healthy", "old"), (1, "healthy", "old")],
                vec!["-db-1"],
            ),
            (
                json!({"replicas": 2}),
                vec![(0, "healthy", "old"), (1, "healthy", "new")],
                vec!["-db-0"],
            ),
            (json!({"replicas": 2}), vec![(0, "healthy", "old"), (1, "pending", "new")], vec![]),
            (partition.clone(), vec![(0, "healthy", "old"), (1, "healthy", "new")], vec![]),
            (partition, vec![(1, "healthy", "new")], vec!["+db-0:old"]),
            (on_delete, vec![(0, "healthy", "old")], vec![]),
            (
                parallel(json!({"replicas": 2})),
                vec![(0, "healthy", "old"), (1, "pending", "old")],
                vec!["-db-1"],
            ),
        ];
        for (spec, states, expected) in cases {
            let set = set(&spec);
            let pods: Vec<_> =
                states.iter().map(|(n, state, revision)| pod(&set, *n, state, revision)).collect();
            let steps = plan(&set, &pods, &revisions, Timestamp::UNIX_EPOCH);
            assert_eq!(shown(&steps), expected, "{spec} {states:?}");
        }
    }
}
