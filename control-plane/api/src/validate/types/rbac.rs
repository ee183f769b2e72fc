//! Roles and their bindings.

use serde_json::{Map, Value};

use crate::status::FieldError;
use crate::validate::path::Path;

use super::{items, text};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role_binding(
    binding: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    role_ref(binding, &["Role", "ClusterRole"], path, errors);
}

pub(super) fn cluster_role_binding(
    binding: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    role_ref(binding, &["ClusterRole"], path, errors);
}

fn role_ref(
    binding: &Map<String, Value>,
    kinds: &[&str],
    path: &Path,
    errors: &mut Vec<FieldError>,
) {
    let reference = binding.get("roleRef").unwrap_or(&Value::Null);
    let group = reference["apiGroup"].as_str().unwrap_or_default();
    if group != GROUP {
        errors.push(FieldError::not_supported(path.child("roleRef.apiGroup"), group, &[GROUP]));
    }
    let kind = reference["kind"].as_str().unwrap_or_default();
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("roleRef.kind"), kind, kinds));
    }
}

pub(super) fn subject(subject: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    let (kind, group) = (text(subject, "kind"), text(subject, "apiGroup"));
    match kind {
        "ServiceAccount" => {
            if !group.is_empty() {
                errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[""]));
            }
            if text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(path.child("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[GROUP]));
        }
        "User" | "Group" => {}
        _ => {
            let known = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(path.child("kind"), kind, &known));
        }
    }
}

pub(super) fn policy_rule(
    rule: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let empty = |field: &str| items(rule, field).next().is_none();
    if empty("verbs") {
        let detail = "verbs must contain at least one value";
        errors.push(FieldError::required(path.child("verbs"), detail));
    }
    if !empty("nonResourceURLs") {
        if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
            let value = rule.get("nonResourceURLs").cloned().unwrap_or_default();
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(path.child("nonResourceURLs"), value, detail));
        }
        return;
    }
    if empty("apiGroups") {
        let detail = "resource rules must supply at least one api group";
        errors.push(FieldError::required(path.child("apiGroups"), detail));
    }
    if empty("resources") {
        let detail = "resource rules must supply at least one resource";
        errors.push(FieldError::required(path.child("resources"), detail));
    }
}
