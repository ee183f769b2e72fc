//! The taints that a node's state asks for.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::health::{condition, ready_status};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep pods away while they are true.
const BY_CONDITION: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Whether pods can run on a node, by what it says or does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Ready,
    NotReady,
    Unreachable,
}

/// What the Ready condition comes to.
pub(super) fn reach(node: &Node) -> Reach {
    match ready_status(node) {
        "True" => Reach::Ready,
        "False" => Reach::NotReady,
        _ => Reach::Unreachable,
    }
}

fn key_of(reach: Reach) -> Option<&'static str> {
    match reach {
        Reach::Ready => None,
        Reach::NotReady => Some(NOT_READY),
        Reach::Unreachable => Some(UNREACHABLE),
    }
}

/// The node's taints as they should be, if they are not. Taints of others stay as they are.
/// `may_evict`: pods may be driven off a node now that is not ready.
pub(super) fn wanted_taints(node: &Node, may_evict: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let known: Vec<Taint> = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let state = key_of(reach(node));
    let by_condition = BY_CONDITION.iter().filter_map(|(kind, key)| {
        condition(node, kind).filter(|condition| condition.status == "True").map(|_| *key)
    });
    let cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
    let cordoned = cordoned.then_some(UNSCHEDULABLE);
    let mut wanted: Vec<(&str, &str)> =
        { by_condition }.chain(cordoned).chain(state).map(|key| (key, "NoSchedule")).collect();
    let evicts = |key| known.iter().any(|taint| is(taint, key, "NoExecute"));
    let evicting = evicts(NOT_READY) || evicts(UNREACHABLE);
    if let Some(key) = state
        && (may_evict || evicting)
    {
        wanted.push((key, "NoExecute"));
    }
    let mut taints: Vec<Taint> = known
        .iter()
        .filter(|taint| {
            !is_ours(taint) || wanted.iter().any(|(key, effect)| is(taint, key, effect))
        })
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, key, effect)) {
            taints.push(Taint {
                key: key.into(),
                effect: effect.into(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    (taints != known).then_some(taints)
}

fn is(taint: &Taint, key: &str, effect: &str) -> bool {
    taint.key == key && taint.effect == effect
}

fn is_ours(taint: &Taint) -> bool {
    let state = taint.key == NOT_READY || taint.key == UNREACHABLE;
    let condition = BY_CONDITION.iter().any(|(_, key)| *key == taint.key);
    match taint.effect.as_str() {
        "NoSchedule" => state || condition || taint.key == UNSCHEDULABLE,
        "NoExecute" => state,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(conditions: &[(&str, &str)], spec: &Value) -> Node {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status}))
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": "n1"}, "spec": spec, "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn taints_follow_the_state() {
        let ready: &[_] = &[("Ready", "True")];
        let new = json!({"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]});
        let own = json!({"taints": [{"key": "team", "value": "a", "effect": "NoExecute"}]});
        let evicting = json!({"taints": [{"key": NOT_READY, "effect": "NoExecute"}]});
        // (conditions, spec, may evict) -> taints, if they change
        let cases = [
            (ready, json!({}), true, None),
            (ready, new.clone(), true, Some(vec![])),
            (ready, json!({"unschedulable": true}), true, Some(vec!["unschedulable:NoSchedule"])),
            (
                &[("Ready", "True"), ("DiskPressure", "True")],
                json!({}),
                true,
                Some(vec!["disk-pressure:NoSchedule"]),
            ),
            (&[("Ready", "False")], new, false, None),
            (
                &[("Ready", "False")],
                json!({}),
                true,
                Some(vec!["not-ready:NoSchedule", "not-ready:NoExecute"]),
            ),
            (
                &[("Ready", "Unknown")],
                evicting,
                false,
                Some(vec!["unreachable:NoSchedule", "unreachable:NoExecute"]),
            ),
            (&[], own.clone(), false, Some(vec!["team:NoExecute", "unreachable:NoSchedule"])),
            (ready, own, true, None),
        ];
        for (conditions, spec, may_evict, expected) in cases {
            let found = wanted_taints(&node(conditions, &spec), may_evict, Timestamp::UNIX_EPOCH);
            let short = |taint: &Taint| {
                let key = taint.key.rsplit('/').next().unwrap_or_default();
                format!("{key}:{}", taint.effect)
            };
            let found = found.map(|taints| taints.iter().map(short).collect::<Vec<_>>());
            let expected = expected.map(|taints| taints.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected, "{conditions:?} {spec} {may_evict}");
        }
    }
}
