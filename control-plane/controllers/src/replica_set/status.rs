//! What a replica set reports about its pods.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::soonest;
use crate::pod::{is_available, is_ready, until_available};
use crate::selector::{Labels, contains};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Why the last attempt to make or delete pods failed.
pub(super) struct Failure {
    pub(super) message: String,
}

/// The status these pods add up to.
pub(super) fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
    counts_terminating: bool,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone();
    let old = set.status.clone().unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let template_labels: Labels =
        spec.template.and_then(|template| template.metadata?.labels).unwrap_or_default();
    let count = |fits: &dyn Fn(&Pod) -> bool| to_i32(active.iter().filter(|pod| fits(pod)).count());
    let surplus = active.len().cmp(&usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0));
    ReplicaSetStatus {
        replicas: to_i32(active.len()),
        fully_labeled_replicas: nonzero(count(&|pod| {
            contains(pod.metadata.labels.as_ref(), &template_labels)
        })),
        ready_replicas: nonzero(count(&is_ready)),
        available_replicas: nonzero(count(&|pod| is_available(pod, min_ready, now))),
        terminating_replicas: counts_terminating.then(|| to_i32(terminating)),
        observed_generation: set.metadata.generation.or(old.observed_generation),
        conditions: conditions(old.conditions, failure, surplus.is_lt(), now),
    }
}

fn conditions(
    old: Option<Vec<ReplicaSetCondition>>,
    failure: Option<&Failure>,
    lacking: bool,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.unwrap_or_default();
    let known = conditions.iter().any(is_failure);
    match failure {
        Some(failure) if !known => conditions.push(ReplicaSetCondition {
            type_: Some(REPLICA_FAILURE.into()),
            status: Some("True".into()),
            reason: Some(if lacking { "FailedCreate" } else { "FailedDelete" }.into()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
        None => conditions.retain(|condition| !is_failure(condition)),
        Some(_) => {}
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

fn is_failure(condition: &ReplicaSetCondition) -> bool {
    condition.type_.as_deref() == Some(REPLICA_FAILURE)
}

/// When to look again because a ready pod will have become available.
pub(super) fn next_check(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    now: Timestamp,
) -> Option<Duration> {
    let min_ready = set.spec.min_ready_seconds.filter(|seconds| *seconds > 0)?;
    let waits = active.iter().filter_map(|pod| until_available(pod, min_ready, now));
    soonest(waits.filter_map(|wait| Duration::try_from(wait).ok()))
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Zero counts are left out on the wire; so they are here, or a status would never equal itself.
fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ready: bool, label: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"app": label}},
            "status": {"phase": "Running", "conditions": [{
                "type": "Ready", "status": if ready { "True" } else { "False" },
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn set(min_ready: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 7},
            "spec": {"replicas": 3, "minReadySeconds": min_ready, "selector": {},
                "template": {"metadata": {"labels": {"app": "web"}}}},
        }))
        .unwrap()
    }

    #[test]
    fn pods_are_counted_by_what_they_are() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().unwrap();
        let pods = [pod(true, "web"), pod(false, "web"), pod(true, "other")];
        let found = status(&set(30), &pods, 1, None, true, now);
        assert_eq!(found.replicas, 3);
        assert_eq!(found.fully_labeled_replicas, Some(2));
        assert_eq!(found.ready_replicas, Some(2));
        assert_eq!(found.available_replicas, None);
        assert_eq!(found.terminating_replicas, Some(1));
        assert_eq!(found.observed_generation, Some(7));
        assert_eq!(next_check(&set(30), &pods, now), Some(Duration::from_secs(10)));
        assert_eq!(next_check(&set(0), &pods, now), None);
    }

    #[test]
    fn a_failure_shows_until_it_is_over() {
        let now = Timestamp::UNIX_EPOCH;
        let failure = Failure { message: "quota".into() };
        let failed = status(&set(0), &[], 0, Some(&failure), true, now);
        let condition = &failed.conditions.as_ref().unwrap()[0];
        assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
        assert_eq!(condition.message.as_deref(), Some("quota"));
        let healed = ReplicaSet { status: Some(failed), ..set(0) };
        assert_eq!(status(&healed, &[], 0, None, true, now).conditions, None);
    }
}
