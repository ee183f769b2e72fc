//! Which pods of a set go first when there are too many: the ones that are missed least. The order
//! is the one kube-controller-manager documents for scaling down.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pod::{is_active, is_ready, max_restarts, node_name, phase, ready_since};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pods, first to be deleted first.
pub(super) fn first_to_go(
    pods: &[Arc<Pod>],
    related: &[Arc<Pod>],
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| is_active(pod)) {
        *on_node.entry(node_name(pod)).or_default() += 1;
    }
    let neighbours = |pod: &Pod| on_node.get(node_name(pod)).copied().unwrap_or_default();
    let mut ranked = pods.to_vec();
    ranked.sort_by(|a, b| {
        earlier_stage(a, b)
            .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
            .then_with(|| Reverse(neighbours(a)).cmp(&Reverse(neighbours(b))))
            .then_with(|| ready_for_less(a, b, now))
            .then_with(|| Reverse(max_restarts(a)).cmp(&Reverse(max_restarts(b))))
            .then_with(|| younger(created(a), created(b), now, a, b))
    });
    ranked
}

/// Not scheduled, then pending, then unknown, then running but not ready, then ready.
fn earlier_stage(a: &Pod, b: &Pod) -> Ordering {
    let stage = |pod: &Pod| {
        let phase = match phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        (!node_name(pod).is_empty(), phase, is_ready(pod))
    };
    stage(a).cmp(&stage(b))
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|a| a.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn ready_for_less(a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    if is_ready(a) && is_ready(b) && ready_since(a) != ready_since(b) {
        younger(ready_since(a), ready_since(b), now, a, b)
    } else {
        Ordering::Equal
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Ages are compared by their order of magnitude (base 2), so that it is not always the newest pod
/// that goes; inside one magnitude the uid decides, which is as good as chance. No time is youngest.
fn younger(
    since_a: Option<Timestamp>,
    since_b: Option<Timestamp>,
    now: Timestamp,
    a: &Pod,
    b: &Pod,
) -> Ordering {
    let magnitude = |since: Timestamp| {
        let age_ns = now.duration_since(since).as_nanos();
        if age_ns > 0 { i64::from(age_ns.ilog2()) } else { -1 }
    };
    match (since_a, since_b) {
        (Some(since_a), Some(since_b)) if since_a == since_b => Ordering::Equal,
        (Some(since_a), Some(since_b)) => magnitude(since_a)
            .cmp(&magnitude(since_b))
            .then_with(|| a.metadata.uid.cmp(&b.metadata.uid)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, detail: &Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        });
        json_patch::merge(&mut pod, detail);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    /// Each case: a pod that must go before a plain ready one, and why.
    #[test]
    fn the_least_missed_goes_first() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let not_ready = json!([{"type": "Ready", "status": "False"}]);
        let just_ready = json!([
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T23:59:00Z"},
        ]);
        let cases = [
            ("not scheduled", json!({"spec": {"nodeName": null}, "status": {"phase": "Pending"}})),
            ("pending", json!({"status": {"phase": "Pending"}})),
            ("not ready", json!({"status": {"conditions": not_ready}})),
            ("cheap", json!({"metadata": {"annotations": {DELETION_COST: "-5"}}})),
            ("crowded node", json!({"spec": {"nodeName": "n2"}})),
            ("ready for less", json!({"status": {"conditions": just_ready}})),
            (
                "restarted",
                json!({"status": {"containerStatuses": [
                {"name": "c", "restartCount": 3, "ready": true, "image": "", "imageID": ""}]}}),
            ),
            ("younger", json!({"metadata": {"creationTimestamp": "2026-01-01T23:59:00Z"}})),
        ];
        let crowd = |n: u8| pod(&format!("crowd-{n}"), &json!({"spec": {"nodeName": "n2"}}));
        for (why, detail) in cases {
            let pods = [pod("plain", &json!({})), pod("victim", &detail)];
            let related = [crowd(1), crowd(2), pods[0].clone()];
            let first = &first_to_go(&pods, &related, now)[0];
            assert_eq!(first.metadata.name.as_deref(), Some("victim"), "{why}");
        }
    }
}
