//! The arithmetic of a disruption budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::int_or_percent::{Round, resolve};
use crate::pod::{is_ready, is_terminating};

const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";
/// A pod whose eviction was granted and that is still there after this long was not evicted.
const GRANTED_FOR: SignedDuration = SignedDuration::from_mins(2);

/// How many pods the owners of the covered pods want together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Known(i32),
    /// This owner has no scale that is known.
    Unknown(String),
}

/// What the budget allows now.
pub(super) fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: Scale,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let spec = budget.spec.clone().unwrap_or_default();
    let counted = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    let share = |value: &IntOrString, total| resolve(value, total, Round::Up).unwrap_or_default();
    let amounts = match (&spec.max_unavailable, &spec.min_available, scale) {
        (Some(_), _, Scale::Unknown(owner)) => Err(owner),
        (Some(most), _, Scale::Known(total)) => Ok((total, (total - share(most, total)).max(0))),
        (None, Some(IntOrString::Int(least)), _) => Ok((counted, *least)),
        (None, Some(_), Scale::Unknown(owner)) => Err(owner),
        (None, Some(least), Scale::Known(total)) => Ok((total, share(least, total))),
        (None, None, _) => Ok((counted, 0)),
    };
    let granted = still_granted(old.disrupted_pods, pods, now);
    let healthy = pods.iter().filter(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        is_ready(pod) && !is_terminating(pod) && !granted.contains_key(name)
    });
    let healthy = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let (expected, desired) = amounts.as_ref().copied().unwrap_or_default();
    let allowed = match &amounts {
        Ok(_) if expected > 0 => (healthy - desired).max(0),
        _ => 0,
    };
    let (value, reason, message) = match amounts {
        Err(owner) => ("False", "SyncFailed", format!("the scale of {owner} is not known")),
        Ok(_) if allowed > 0 => ("True", "SufficientPods", String::new()),
        Ok(_) => ("False", "InsufficientPods", String::new()),
    };
    let generation = budget.metadata.generation;
    let mut conditions = old.conditions.unwrap_or_default();
    note(
        &mut conditions,
        Condition {
            type_: DISRUPTION_ALLOWED.into(),
            status: value.into(),
            reason: reason.into(),
            message,
            observed_generation: generation,
            last_transition_time: Time(now),
        },
    );
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(granted).filter(|granted| !granted.is_empty()),
        observed_generation: generation,
        conditions: Some(conditions),
    }
}

/// The granted evictions whose pods are still there and not yet going.
fn still_granted(
    granted: Option<BTreeMap<String, Time>>,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> BTreeMap<String, Time> {
    let waits = |name: &str, at: Timestamp| {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name));
        pod.is_some_and(|pod| !is_terminating(pod)) && at + GRANTED_FOR > now
    };
    let granted = granted.unwrap_or_default().into_iter();
    granted.filter(|(name, at)| waits(name, at.0)).collect()
}

fn note(conditions: &mut Vec<Condition>, mut new: Condition) {
    if let Some(known) = conditions.iter_mut().find(|known| known.type_ == new.type_) {
        if known.status == new.status {
            new.last_transition_time = known.last_transition_time.clone();
        }
        *known = new;
    } else {
        conditions.push(new);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, ready: bool, going: bool) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": name, "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z")},
            "status": {"conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn allowed(spec: &Value, known: &Value, pods: &[Arc<Pod>], scale: Scale) -> (i32, i32, i32) {
        let budget = serde_json::from_value(
            json!({"metadata": {"generation": 3}, "spec": spec, "status": known}),
        )
        .unwrap();
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let status = status(&budget, pods, scale, now);
        let count = |count: Option<i32>| count.unwrap();
        (
            count(status.current_healthy),
            count(status.desired_healthy),
            count(status.disruptions_allowed),
        )
    }

    #[test]
    fn what_is_allowed_is_what_is_left_above_the_bound() {
        let three = [pod("a", true, false), pod("b", true, false), pod("c", true, false)];
        let mixed = [pod("a", true, false), pod("b", false, false), pod("c", true, true)];
        let granted = |at: &str| json!({"disruptedPods": {"a": at}});
        let known = Scale::Known(3);
        let cases = [
            (json!({"minAvailable": 2}), json!({}), &three, known.clone(), (3, 2, 1)),
            (json!({"minAvailable": "50%"}), json!({}), &three, known.clone(), (3, 2, 1)),
            (json!({"maxUnavailable": 1}), json!({}), &three, known.clone(), (3, 2, 1)),
            (json!({"maxUnavailable": "100%"}), json!({}), &three, known.clone(), (3, 0, 3)),
            (json!({"maxUnavailable": 1}), json!({}), &mixed, known.clone(), (1, 2, 0)),
            (
                json!({"minAvailable": 2}),
                granted("2026-01-01T00:09:00Z"),
                &three,
                known.clone(),
                (2, 2, 0),
            ),
            (json!({"minAvailable": 2}), granted("2026-01-01T00:05:00Z"), &three, known, (3, 2, 1)),
            (
                json!({"maxUnavailable": 1}),
                json!({}),
                &three,
                Scale::Unknown("X y".into()),
                (3, 0, 0),
            ),
        ];
        for (spec, status, pods, scale, expected) in cases {
            assert_eq!(allowed(&spec, &status, pods, scale), expected, "{spec} {status}");
        }
        let none = allowed(&json!({"maxUnavailable": 1}), &json!({}), &[], Scale::Known(0));
        assert_eq!(none, (0, 0, 0));
    }
}
