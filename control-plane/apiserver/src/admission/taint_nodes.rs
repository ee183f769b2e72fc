//! A new node is not ready: nothing is scheduled to it before its conditions say otherwise.

use serde_json::{Value, json};

use super::{Operation, Write};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) fn complete(write: &mut Write<'_>) {
    if !write.is(Operation::Create, "", "nodes") {
        return;
    }
    let Some(node) = &mut write.object else { return };
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let known = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
    if taints.clone().any(known) {
        return;
    }
    let mut taints: Vec<Value> = taints.cloned().collect();
    taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    node["spec"]["taints"] = taints.into();
}
