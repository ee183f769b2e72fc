//! Whether a daemon belongs on a node.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;

use super::template::tolerations;
use crate::node_affinity::wants_node;
use crate::toleration::tolerates;

/// The place of a daemon on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It should run there.
    Run,
    /// It should not be started there, but one that runs may stay.
    Stay,
    /// It must not be there.
    Leave,
}

/// Judges by the node's labels, name and taints.
pub(super) fn place(set: &DaemonSet, node: &Node) -> Place {
    let spec = set.spec.template.spec.clone().unwrap_or_default();
    let named = spec.node_name.as_ref().filter(|name| !name.is_empty());
    if named.is_some_and(|name| node.metadata.name.as_ref() != Some(name))
        || !wants_node(&spec, node)
    {
        return Place::Leave;
    }
    let tolerations = tolerations(&spec);
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let hostile = taints.filter(|taint| !tolerations.iter().any(|t| tolerates(t, taint)));
    let mut place = Place::Run;
    for taint in hostile {
        match taint.effect.as_str() {
            "NoExecute" => return Place::Leave,
            "NoSchedule" => place = Place::Stay,
            _ => {}
        }
    }
    place
}

/// True when a change of a node can matter to daemons.
pub(super) fn differs(old: &Arc<Node>, new: &Arc<Node>) -> bool {
    let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
    old.metadata.labels != new.metadata.labels || taints(old) != taints(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn taints_and_labels_decide() {
        let set = |spec: serde_json::Value| -> DaemonSet {
            serde_json::from_value(json!({
                "metadata": {"name": "a"}, "spec": {"selector": {}, "template": {"spec": spec}},
            }))
            .unwrap()
        };
        let plain = json!({"containers": []});
        let cases = [
            (plain.clone(), json!([]), Place::Run),
            (plain.clone(), json!([{"key": "a", "effect": "NoSchedule"}]), Place::Stay),
            (plain.clone(), json!([{"key": "a", "effect": "NoExecute"}]), Place::Leave),
            (plain.clone(), json!([{"key": "a", "effect": "PreferNoSchedule"}]), Place::Run),
            (
                plain,
                json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]),
                Place::Run,
            ),
            (json!({"containers": [], "nodeSelector": {"gpu": "yes"}}), json!([]), Place::Leave),
            (json!({"containers": [], "nodeName": "other"}), json!([]), Place::Leave),
        ];
        for (spec, taints, expected) in cases {
            let node = serde_json::from_value(
                json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}}),
            )
            .unwrap();
            assert_eq!(place(&set(spec.clone()), &node), expected, "{spec} {taints}");
        }
    }
}
