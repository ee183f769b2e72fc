//! Hooks of the groups that set up a cluster: networking, rbac, resource, apiextensions, autoscaling's
//! metrics.

use serde_json::{Map, Value, json};

use super::{Hook, child, set, text};

pub(super) fn hook(ty: &str) -> Option<Hook> {
    Some(match ty {
        "apiextensions.CustomResourceDefinition" => custom_resource_definition,
        "networking.NetworkPolicy" => network_policy,
        "rbac.ClusterRoleBinding" | "rbac.RoleBinding" => role_binding,
        "rbac.Subject" => subject,
        "resource.DeviceSubRequest" | "resource.ExactDeviceRequest" => device_request,
        _ => return None,
    })
}

fn network_policy(policy: &mut Map<String, Value>) {
    let spec = child(policy, "spec");
    let types =
        if spec.contains_key("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    set(spec, "policyTypes", types);
}

fn role_binding(binding: &mut Map<String, Value>) {
    set(child(binding, "roleRef"), "apiGroup", "rbac.authorization.k8s.io");
}

fn subject(subject: &mut Map<String, Value>) {
    if matches!(text(subject, "kind"), "User" | "Group") {
        set(subject, "apiGroup", "rbac.authorization.k8s.io");
    }
}

fn device_request(request: &mut Map<String, Value>) {
    set(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        set(request, "count", 1);
    }
}

fn custom_resource_definition(definition: &mut Map<String, Value>) {
    let spec = child(definition, "spec");
    set(spec, "conversion", json!({ "strategy": "None" }));
    let names = child(spec, "names");
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
    let versions = spec.get("versions").and_then(Value::as_array).into_iter().flatten();
    let stored = versions.into_iter().find(|version| version["storage"] == true);
    if let Some(name) = stored.map(|version| version["name"].clone()) {
        set(child(definition, "status"), "storedVersions", vec![name]);
    }
}
