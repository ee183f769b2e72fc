//! Validation, as upstream does it for the kinds that matter first: metadata of every kind; rules per
//! type, wherever in an object the type stands; short hooks where fields depend on each other; and, on
//! update, what must not change. A kind without rules is valid when it decodes.

mod immutable;
mod meta;
mod path;
mod plan;
mod rules;
mod types;

use serde_json::Value;

use crate::Object;
use crate::names::GroupVersionKind;
use crate::registry::builtin;
use crate::status::FieldError;

use path::Path;

/// What is wrong with an object that is to be created. Name and namespace must be settled.
pub fn create(gvk: &GroupVersionKind, object: &Object) -> Vec<FieldError> {
    let Some(resource) = builtin().resource_of_kind(gvk) else { return Vec::new() };
    let mut errors = Vec::new();
    if resource.storage().is_some() {
        meta::create(gvk, resource.namespaced, object, &mut errors);
    }
    check_fields(gvk, object, &mut errors);
    errors
}

/// What is wrong with an object that is to replace `old`, through the object itself or a subresource.
pub fn update(
    gvk: &GroupVersionKind,
    object: &Object,
    old: &Object,
    subresource: Option<&str>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    meta::update(object, old, &mut errors);
    if subresource.is_none() {
        check_fields(gvk, object, &mut errors);
        immutable::check(gvk, object, old, &mut errors);
    }
    if gvk.kind == "Namespace" && subresource == Some("status") {
        namespace_phase(object, &mut errors);
    }
    errors
}

/// A namespace goes exactly when it is being deleted.
fn namespace_phase(object: &Object, errors: &mut Vec<FieldError>) {
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let deleted = object["metadata"].get("deletionTimestamp").is_some();
    let (only, state) = if deleted { ("Terminating", "not empty") } else { ("Active", "empty") };
    if phase != only {
        let detail = format!("may only be '{only}' if `deletionTimestamp` is {state}");
        errors.push(FieldError::invalid("status.Phase", phase, detail));
    }
}

/// Everything but metadata and status: those have owners of their own.
fn check_fields(gvk: &GroupVersionKind, object: &Object, errors: &mut Vec<FieldError>) {
    let (Some(ty), Value::Object(map)) = (builtin().kind(gvk), object) else { return };
    plan::check_kind(&ty, map, &mut Path::default(), errors);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codec::{self, FieldValidation, Media};
    use crate::defaults;

    /// What kube-apiserver 1.37.1 says about objects that are wrong in many ways at once.
    #[test]
    fn errors_are_upstreams() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../tests/validation/create.json")).expect("cases");
        for case in cases {
            let bytes = case["object"].to_string();
            let decoded =
                codec::decode(bytes.as_bytes(), Media::Json, None, FieldValidation::Ignore);
            let decoded = decoded.expect("every case decodes");
            let (gvk, mut object) = (decoded.gvk, decoded.object);
            if builtin().resource_of_kind(&gvk).is_some_and(|resource| resource.namespaced) {
                object["metadata"]["namespace"] = "default".into();
            }
            defaults::apply(&gvk, &mut object);
            let mut ours: Vec<String> =
                create(&gvk, &object).iter().map(ToString::to_string).collect();
            let mut upstream: Vec<String> =
                serde_json::from_value(case["errors"].clone()).expect("a list of messages");
            ours.sort();
            upstream.sort();
            assert_eq!(ours, upstream, "{}", case["object"]["kind"]);
        }
    }

    #[test]
    fn what_must_not_change() {
        let deployment = GroupVersionKind::new("apps", "v1", "Deployment");
        let object = |app: &str| {
            let mut object = json!({
                "metadata": { "name": "a", "namespace": "b", "resourceVersion": "1" },
                "spec": {
                    "selector": { "matchLabels": { "app": app } },
                    "template": {
                        "metadata": { "labels": { "app": app } },
                        "spec": { "containers": [{ "name": "c", "image": "i" }] },
                    },
                },
            });
            defaults::apply(&deployment, &mut object);
            object
        };
        assert_eq!(update(&deployment, &object("x"), &object("x"), None), []);
        let errors = update(&deployment, &object("y"), &object("x"), None);
        assert_eq!(
            errors[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"y\"}}: field is immutable"
        );
    }
}
