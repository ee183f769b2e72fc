//! Which nodes a pod asks for: its node selector and its required node affinity.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::selector::contains;

/// True when the node is one the pod may run on, by its own choice.
pub(crate) fn wants_node(pod: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    if !pod.node_selector.as_ref().is_none_or(|selector| contains(labels, selector)) {
        return false;
    }
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| fits(term, node)))
}

/// A term fits when everything it says is so; one that says nothing fits nothing.
fn fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let says_nothing = expressions.clone().next().is_none() && fields.clone().next().is_none();
    let by_label = |requirement: &NodeSelectorRequirement| {
        let value = labels.and_then(|labels| labels.get(&requirement.key));
        holds(requirement, value.map(String::as_str))
    };
    let by_field = |requirement: &NodeSelectorRequirement| {
        requirement.key == "metadata.name" && holds(requirement, node.metadata.name.as_deref())
    };
    !says_nothing && { expressions }.all(by_label) && { fields }.all(by_field)
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let numbers = || {
        let limit: i64 = values.first()?.parse().ok()?;
        Some((value?.parse::<i64>().ok()?, limit))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, limit)| value > limit),
        "Lt" => numbers().is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_and_terms() {
        let node: Node = serde_json::from_value(
            json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}}}),
        )
        .unwrap();
        let term = |requirements: serde_json::Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [requirements]}}}})
        };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let cases = [
            (json!({}), true),
            (json!({"nodeSelector": {"disk": "ssd"}}), true),
            (json!({"nodeSelector": {"disk": "hdd"}}), false),
            (term(expression("disk", "In", &["ssd", "nvme"])), true),
            (term(expression("disk", "NotIn", &["ssd"])), false),
            (term(expression("cores", "Gt", &["4"])), true),
            (term(expression("cores", "Lt", &["4"])), false),
            (term(expression("gpu", "DoesNotExist", &[])), true),
            (term(json!({})), false),
            (
                term(json!({"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": ["n1"]}]})),
                true,
            ),
        ];
        for (spec, expected) in cases {
            let mut whole = spec.clone();
            whole["containers"] = json!([]);
            let pod = serde_json::from_value(whole).unwrap();
            assert_eq!(wants_node(&pod, &node), expected, "{spec}");
        }
    }
}
