//! The pods of a daemon set, each made for one node.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};

use crate::history::HASH_LABEL;
use crate::pod::node_name;
use crate::pod_writer::from_template;

const NAME_FIELD: &str = "metadata.name";
const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";

/// What a daemon puts up with: it serves a node in whatever state it is.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK_UNAVAILABLE: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// A daemon's tolerations: its own, and those of every daemon.
pub(super) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let network = Some(NETWORK_UNAVAILABLE).filter(|_| spec.host_network == Some(true));
    for (key, effect) in BORNE.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    tolerations
}

/// The set's pod for a node. The scheduler places it, and can place it only there.
pub(super) fn daemon_pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let mut pod = from_template(set, &set.spec.template);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.into());
    let generation = set.metadata.annotations.as_ref().and_then(|a| a.get(GENERATION_ANNOTATION));
    if let Some(generation) = generation {
        labels.insert(GENERATION_LABEL.into(), generation.clone());
    }
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    // The set's own terms have been looked at already.
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_expressions: None,
            match_fields: Some(vec![NodeSelectorRequirement {
                key: NAME_FIELD.into(),
                operator: "In".into(),
                values: Some(vec![node.into()]),
            }]),
        }],
    });
    pod
}

/// The node a pod runs on or is made for.
pub(super) fn node_of(pod: &Pod) -> Option<String> {
    let placed = node_name(pod);
    if !placed.is_empty() {
        return Some(placed.into());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    let named = { fields }.find(|field| field.key == NAME_FIELD && field.operator == "In")?;
    named.values.as_ref()?.first().cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_made_for_its_node() {
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "agent", "namespace": "sys", "uid": "u"},
            "spec": {"selector": {}, "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [], "hostNetwork": true, "affinity": {"nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}},
            }},
        }))
        .unwrap();
        let pod = daemon_pod(&set, "n7", "h1");
        assert_eq!(node_of(&pod).as_deref(), Some("n7"));
        assert_eq!(pod.metadata.labels.as_ref().unwrap()[HASH_LABEL], "h1");
        assert_eq!(pod.spec.unwrap().tolerations.unwrap().len(), 7);
    }
}
