//! How long a pod may stay on a node with certain taints.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::toleration::tolerates;

/// The end of a pod's stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    Forever,
    Until(Timestamp),
}

/// Judges the node's taints, which all drive pods off. `seen`: since when the pod is known to have
/// to go, for taints that do not say when they were added.
pub(super) fn stay(taints: &[Taint], tolerations: &[Toleration], seen: Timestamp) -> Stay {
    let mut stay = Stay::Forever;
    for taint in taints {
        let added = taint.time_added.as_ref().map_or(seen, |time| time.0);
        let mut matching = tolerations.iter().filter(|t| tolerates(t, taint)).peekable();
        let end = if matching.peek().is_none() {
            Some(added)
        } else {
            // The shortest of the tolerations that apply; one without a limit sets none.
            let seconds = matching.filter_map(|toleration| toleration.toleration_seconds).min();
            seconds.map(|seconds| added + SignedDuration::from_secs(seconds.clamp(0, MOST_SECONDS)))
        };
        stay = match (stay, end) {
            (Stay::Until(known), Some(end)) => Stay::Until(known.min(end)),
            (Stay::Forever, Some(end)) => Stay::Until(end),
            (stay, None) => stay,
        };
    }
    stay
}

/// About a hundred years: longer would leave the range of timestamps.
const MOST_SECONDS: i64 = 100 * 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_least_tolerant_decides() {
        let added = "2026-01-01T00:00:00Z";
        let taint = |key: &str| json!({"key": key, "effect": "NoExecute", "timeAdded": added});
        let tolerate = |key: &str, seconds: Option<i64>| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        // (taints, tolerations) -> seconds until the end
        let cases = [
            (json!([]), json!([]), None),
            (json!([taint("a")]), json!([]), Some(0)),
            (json!([taint("a")]), json!([tolerate("b", None)]), Some(0)),
            (json!([taint("a")]), json!([tolerate("a", None)]), None),
            (json!([taint("a")]), json!([tolerate("a", Some(300))]), Some(300)),
            (json!([taint("a")]), json!([tolerate("a", Some(-5))]), Some(0)),
            (
                json!([taint("a")]),
                json!([tolerate("a", Some(300)), {"operator": "Exists"}]),
                Some(300),
            ),
            (
                json!([taint("a"), taint("b")]),
                json!([tolerate("a", Some(300)), tolerate("b", Some(60))]),
                Some(60),
            ),
            (json!([taint("a"), taint("b")]), json!([tolerate("a", Some(300))]), Some(0)),
        ];
        let start: Timestamp = added.parse().unwrap();
        for (taints, tolerations, expected) in cases {
            let parsed: Vec<Taint> = serde_json::from_value(taints.clone()).unwrap();
            let tolerated: Vec<Toleration> = serde_json::from_value(tolerations.clone()).unwrap();
            let found = match stay(&parsed, &tolerated, start) {
                Stay::Forever => None,
                Stay::Until(end) => Some(end.duration_since(start).as_secs()),
            };
            assert_eq!(found, expected, "{taints} {tolerations}");
        }
    }
}
