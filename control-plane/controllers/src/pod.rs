//! Facts about pods that several controllers need.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// The condition of this type.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// The phase, `Pending` when not yet set.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Being deleted.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Counts as a replica: neither ended nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// Its `Ready` condition is true.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when it is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// How long until a ready pod has been ready for `min_ready_seconds`: zero when it is available,
/// nothing when it is not ready.
pub(crate) fn until_available(
    pod: &Pod,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<SignedDuration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(SignedDuration::ZERO);
    }
    let available_at = ready_since(pod)? + SignedDuration::from_secs(min_ready_seconds.into());
    Some(available_at.duration_since(now).max(SignedDuration::ZERO))
}

/// Ready, and has been for `min_ready_seconds`.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    until_available(pod, min_ready_seconds, now) == Some(SignedDuration::ZERO)
}

/// The node it runs on; empty while it is not scheduled.
pub(crate) fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// How often its containers have been restarted: the most restarted of each sort.
pub(crate) fn max_restarts(pod: &Pod) -> (i32, i32) {
    let status = pod.status.as_ref();
    let most = |sidecars: bool| {
        let (names, statuses) = if sidecars {
            let names: Vec<&str> = pod
                .spec
                .iter()
                .flat_map(|spec| spec.init_containers.iter().flatten())
                .filter(|container| container.restart_policy.as_deref() == Some("Always"))
                .map(|container| container.name.as_str())
                .collect();
            (Some(names), status.and_then(|status| status.init_container_statuses.as_ref()))
        } else {
            (None, status.and_then(|status| status.container_statuses.as_ref()))
        };
        statuses
            .into_iter()
            .flatten()
            .filter(|status| {
                names.as_ref().is_none_or(|names| names.contains(&status.name.as_str()))
            })
            .map(|status| status.restart_count)
            .max()
            .unwrap_or_default()
    };
    (most(false), most(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ready_pod(status: &str, since: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": since},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_available_once_it_was_ready_long_enough() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let cases = [
            ("True", "2026-01-01T00:00:00Z", 0, Some(0)),
            ("True", "2026-01-01T00:00:00Z", 60, Some(0)),
            ("True", "2026-01-01T00:00:00Z", 90, Some(30)),
            ("False", "2026-01-01T00:00:00Z", 0, None),
        ];
        for (status, since, min_ready, expected) in cases {
            let left = until_available(&ready_pod(status, since), min_ready, now);
            assert_eq!(left.map(|left| left.as_secs()), expected, "{status} {min_ready}");
            assert_eq!(
                is_available(&ready_pod(status, since), min_ready, now),
                expected == Some(0)
            );
        }
    }
}
