//! What an update must not change.

use serde_json::{Map, Value};

use crate::Object;
use crate::names::GroupVersionKind;
use crate::status::FieldError;

const IMMUTABLE: &str = "field is immutable";

/// Fields of a kind that keep the value they were created with.
fn fixed(gvk: &GroupVersionKind) -> &'static [&'static str] {
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "Secret") => &["type"],
        ("", "PersistentVolume") => &["spec.volumeMode"],
        ("apps", "DaemonSet" | "Deployment" | "ReplicaSet") => &["spec.selector"],
        ("apps", "StatefulSet") => &[
            "spec.selector",
            "spec.volumeClaimTemplates",
            "spec.serviceName",
            "spec.podManagementPolicy",
        ],
        ("batch", "Job") => &[
            "spec.selector",
            "spec.completionMode",
            "spec.podFailurePolicy",
            "spec.backoffLimitPerIndex",
            "spec.managedBy",
            "spec.successPolicy",
        ],
        ("rbac.authorization.k8s.io", "ClusterRoleBinding" | "RoleBinding") => &["roleRef"],
        _ => &[],
    }
}

/// The same where upstream declares it, and then does not show the value.
fn declared(gvk: &GroupVersionKind) -> &'static [&'static str] {
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("discovery.k8s.io", "EndpointSlice") => &["addressType"],
        ("networking.k8s.io", "IPAddress") => &["spec.parentRef"],
        ("node.k8s.io", "RuntimeClass") => &["handler"],
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => &["spec"],
        ("storage.k8s.io", "StorageClass") => {
            &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"]
        }
        ("storage.k8s.io", "VolumeAttachment") => &["spec"],
        _ => &[],
    }
}

pub(super) fn check(
    gvk: &GroupVersionKind,
    object: &Object,
    old: &Object,
    errors: &mut Vec<FieldError>,
) {
    for path in fixed(gvk) {
        let (value, was) = (at(object, path), at(old, path));
        if value != was {
            errors.push(FieldError::invalid(*path, value.clone(), IMMUTABLE));
        }
    }
    for path in declared(gvk).iter().filter(|path| at(object, path) != at(old, path)) {
        errors.push(FieldError::invalid(*path, Value::Null, IMMUTABLE));
    }
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "ConfigMap" | "Secret") => immutable_data(object, old, errors),
        ("", "Pod") => pod(object, old, errors),
        ("", "Service") => service(object, old, errors),
        ("", "PersistentVolumeClaim") => claim(object, old, errors),
        ("batch", "Job") => job(object, old, errors),
        ("scheduling.k8s.io", "PriorityClass") => {
            for field in ["value", "preemptionPolicy"] {
                if object.get(field) != old.get(field) {
                    errors.push(FieldError::forbidden(field, "may not be changed in an update."));
                }
            }
        }
        _ => {}
    }
}

fn at<'a>(object: &'a Object, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, name| &value[name])
}

/// Data that was declared immutable.
fn immutable_data(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    if old["immutable"] != true {
        return;
    }
    for field in ["immutable", "data", "binaryData"] {
        if object.get(field) != old.get(field) {
            errors.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

/// A running pod's spec is fixed, but for images, a sooner deadline, more tolerations, fewer gates.
fn pod(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    let (mut spec, was) = (object["spec"].clone(), &old["spec"]);
    for list in ["containers", "initContainers"] {
        let counts = [&spec, was].map(|spec| spec[list].as_array().map_or(0, Vec::len));
        if counts[0] != counts[1] {
            errors.push(FieldError::forbidden(
                format!("spec.{list}"),
                "pod updates may not add or remove containers",
            ));
            return;
        }
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, before) in containers.zip(was[list].as_array().into_iter().flatten()) {
            container["image"] = before["image"].clone();
        }
    }
    deadline(&spec, was, errors);
    tolerations(&spec, was, errors);
    gates(&spec, was, errors);
    let gated = was["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let mut free = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    if gated {
        free.extend(["nodeSelector", "affinity"]);
    }
    if was["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        free.push("terminationGracePeriodSeconds");
    }
    if without(&spec, &free) != without(was, &free) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        errors.push(FieldError::forbidden("spec", detail));
    }
}

fn deadline(spec: &Value, was: &Value, errors: &mut Vec<FieldError>) {
    let field = "activeDeadlineSeconds";
    let why = match (spec[field].as_i64(), was[field].as_i64()) {
        (Some(now), Some(before)) if now > before => "must be less than or equal to previous value",
        (None, Some(_)) => "must not update from a positive integer to nil value",
        _ => return,
    };
    errors.push(FieldError::invalid(format!("spec.{field}"), spec[field].clone(), why));
}

fn tolerations(spec: &Value, was: &Value, errors: &mut Vec<FieldError>) {
    let list = |spec: &Value| spec["tolerations"].as_array().cloned().unwrap_or_default();
    let now = list(spec);
    let bare = |toleration: &Value| without(toleration, &["tolerationSeconds"]);
    if !list(was).iter().all(|before| now.iter().any(|toleration| bare(toleration) == bare(before)))
    {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
}

fn gates(spec: &Value, was: &Value, errors: &mut Vec<FieldError>) {
    let list = |spec: &Value| spec["schedulingGates"].as_array().cloned().unwrap_or_default();
    let before = list(was);
    for (index, gate) in list(spec).iter().enumerate().filter(|(_, gate)| !before.contains(gate)) {
        let name = gate["name"].as_str().unwrap_or_default();
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.push(FieldError::forbidden(format!("spec.schedulingGates[{index}].name"), detail));
    }
}

/// An address, once given, stays, unless the service stops needing one.
fn service(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    let external = |object: &Object| object["spec"]["type"] == "ExternalName";
    let before = old["spec"]["clusterIP"].as_str().unwrap_or_default();
    let now = object["spec"]["clusterIP"].as_str().unwrap_or_default();
    if !external(object) && !external(old) && !before.is_empty() && before != now {
        let addresses = match object["spec"].get("clusterIPs") {
            Some(addresses) => addresses.clone(),
            None => serde_json::json!([now]),
        };
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            addresses,
            "may not change once set",
        ));
    }
}

fn claim(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    let bare = |object: &Object| {
        let mut spec = without(&object["spec"], &["volumeAttributesClassName"]);
        if let Some(resources) = spec.get_mut("resources").and_then(Value::as_object_mut) {
            resources.remove("requests");
        }
        spec
    };
    let (mut now, before) = (bare(object), bare(old));
    // The name of the volume is filled in once.
    if before.get("volumeName").is_none() {
        now.remove("volumeName");
    }
    if now != before {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", detail));
    }
}

/// A job that is not suspended runs the template it has.
fn job(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    let (spec, was) = (&object["spec"], &old["spec"]);
    if was["suspend"] != true && spec["template"] != was["template"] {
        errors.push(FieldError::invalid("spec.template", spec["template"].clone(), IMMUTABLE));
    }
    // An indexed job grows and shrinks with its parallelism.
    let elastic = was["completionMode"] == "Indexed" && spec["completions"] == spec["parallelism"];
    if spec["completions"] != was["completions"] && !elastic {
        errors.push(FieldError::invalid(
            "spec.completions",
            spec["completions"].clone(),
            IMMUTABLE,
        ));
    }
}

/// The fields of an object but for some.
fn without(value: &Value, fields: &[&str]) -> Map<String, Value> {
    let map = value.as_object().into_iter().flatten();
    map.filter(|(key, _)| !fields.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(group: &'static str, kind: &'static str, old: &Value, new: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        check(&GroupVersionKind::new(group, "v1", kind), new, old, &mut errors);
        errors.iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn a_pod_takes_a_new_image_and_more_tolerations() {
        let pod = |image: &str, tolerations: Value, node: &str| {
            json!({ "spec": {
                "containers": [{ "name": "c", "image": image }], "nodeName": node, "tolerations": tolerations,
            } })
        };
        let old = pod("a", json!([{ "key": "x" }]), "n");
        let free = pod("b", json!([{ "key": "x", "tolerationSeconds": 5 }, { "key": "y" }]), "n");
        assert!(errors("", "Pod", &old, &free).is_empty());
        assert_eq!(errors("", "Pod", &old, &pod("a", json!([]), "n")), ["spec.tolerations"]);
        assert_eq!(errors("", "Pod", &old, &pod("a", json!([{ "key": "x" }]), "m")), ["spec"]);
    }

    #[test]
    fn kinds_keep_what_they_were_made_of() {
        let cases = [
            ("", "Secret", json!({ "type": "a" }), json!({ "type": "b" }), vec!["type"]),
            (
                "",
                "ConfigMap",
                json!({ "immutable": true, "data": { "a": "b" } }),
                json!({ "immutable": true }),
                vec!["data"],
            ),
            ("", "ConfigMap", json!({ "data": { "a": "b" } }), json!({}), vec![]),
            (
                "",
                "Service",
                json!({ "spec": { "clusterIP": "10.96.0.1" } }),
                json!({ "spec": { "clusterIP": "10.96.0.2" } }),
                vec!["spec.clusterIPs[0]"],
            ),
            (
                "rbac.authorization.k8s.io",
                "RoleBinding",
                json!({ "roleRef": { "name": "a" } }),
                json!({ "roleRef": { "name": "b" } }),
                vec!["roleRef"],
            ),
            (
                "apps",
                "StatefulSet",
                json!({ "spec": { "replicas": 1 } }),
                json!({ "spec": { "replicas": 2 } }),
                vec![],
            ),
            (
                "apps",
                "StatefulSet",
                json!({ "spec": { "serviceName": "a" } }),
                json!({ "spec": {} }),
                vec!["spec.serviceName"],
            ),
            (
                "",
                "PersistentVolumeClaim",
                json!({ "spec": {} }),
                json!({ "spec": { "volumeName": "v" } }),
                vec![],
            ),
            (
                "batch",
                "Job",
                json!({ "spec": { "template": 1 } }),
                json!({ "spec": { "template": 2 } }),
                vec!["spec.template"],
            ),
        ];
        for (group, kind, old, new, wrong) in cases {
            assert_eq!(errors(group, kind, &old, &new), wrong, "{kind}");
        }
    }
}
