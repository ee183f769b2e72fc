//! Hooks of the groups apps and autoscaling.

use serde_json::{Map, Value, json};

use super::{Hook, child, set, text};

pub(super) fn hook(ty: &str) -> Option<Hook> {
    Some(match ty {
        "apps.Deployment" => deployment,
        "apps.DaemonSet" => daemon_set,
        "apps.StatefulSet" => stateful_set,
        "autoscaling.HorizontalPodAutoscalerSpec" => autoscaler_spec,
        _ => return None,
    })
}

fn deployment(deployment: &mut Map<String, Value>) {
    let strategy = child(child(deployment, "spec"), "strategy");
    set(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", "25%");
        set(rolling, "maxSurge", "25%");
    }
}

fn daemon_set(daemon_set: &mut Map<String, Value>) {
    let strategy = child(child(daemon_set, "spec"), "updateStrategy");
    set(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", 1);
        set(rolling, "maxSurge", 0);
    }
}

fn stateful_set(stateful_set: &mut Map<String, Value>) {
    let spec = child(stateful_set, "spec");
    let strategy = child(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        set(strategy, "type", "RollingUpdate");
        child(strategy, "rollingUpdate");
    }
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut)
    {
        set(rolling, "partition", 0);
        set(rolling, "maxUnavailable", 1);
    }
    // The claims are kinds of their own inside the object; protobuf does not carry their names.
    for claim in super::items(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
    }
}

/// Version 2 knows metrics and behaviour; version 1 keeps its only metric in a field of its own.
fn autoscaler_spec(spec: &mut Map<String, Value>) {
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else { return };
    scaling_rules(
        child(behavior, "scaleUp"),
        json!({
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                { "type": "Pods", "value": 4, "periodSeconds": 15 },
                { "type": "Percent", "value": 100, "periodSeconds": 15 },
            ],
        }),
    );
    scaling_rules(
        child(behavior, "scaleDown"),
        json!({
            "selectPolicy": "Max",
            "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }],
        }),
    );
}

fn scaling_rules(rules: &mut Map<String, Value>, defaults: Value) {
    if let Value::Object(defaults) = defaults {
        for (name, value) in defaults {
            set(rules, &name, value);
        }
    }
}
