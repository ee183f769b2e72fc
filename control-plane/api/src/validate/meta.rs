//! Metadata of every kind.

use serde_json::{Map, Value};

use crate::Object;
use crate::names::GroupVersionKind;
use crate::status::FieldError;
use crate::syntax;

/// Annotations of one object may hold this many bytes.
const ANNOTATION_BYTES: usize = 256 * 1024;

pub(super) fn create(
    gvk: &GroupVersionKind,
    namespaced: bool,
    object: &Object,
    errors: &mut Vec<FieldError>,
) {
    let metadata = &object["metadata"];
    match metadata["name"].as_str().unwrap_or_default() {
        "" => {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
        name => errors.extend(
            name_syntax(gvk, name)
                .into_iter()
                .map(|why| FieldError::invalid("metadata.name", name, why)),
        ),
    }
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    if namespaced && namespace.is_empty() {
        errors.push(FieldError::required("metadata.namespace", ""));
    } else if namespaced {
        let wrong = syntax::dns_label(namespace).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid("metadata.namespace", namespace, why)));
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
    }
    common(metadata, errors);
}

pub(super) fn update(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    let (metadata, was) = (&object["metadata"], &old["metadata"]);
    if was.get("deletionTimestamp").is_some() {
        let added: Vec<&str> = strings(&metadata["finalizers"])
            .filter(|finalizer| !strings(&was["finalizers"]).any(|known| known == *finalizer))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    if metadata["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        let detail = "must be specified for an update";
        errors.push(FieldError::invalid("metadata.resourceVersion", 0, detail));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if metadata.get(field) != was.get(field) {
            let value = metadata[field].clone();
            errors.push(FieldError::invalid(
                format!("metadata.{field}"),
                value,
                "field is immutable",
            ));
        }
    }
    common(metadata, errors);
}

/// What holds whenever metadata is written, at the top and in templates.
fn common(metadata: &Value, errors: &mut Vec<FieldError>) {
    if let Some(map) = metadata.as_object() {
        labels_and_annotations(map, "metadata", errors);
    }
    for (index, owner) in metadata["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let detail = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                errors.push(FieldError::invalid(format!("{path}.{field}"), "", detail));
            }
        }
    }
    for finalizer in strings(&metadata["finalizers"]) {
        let wrong = syntax::qualified_name(finalizer).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid("metadata.finalizers", finalizer, why)));
    }
}

/// Labels and annotations of an object or of a template at `path`.
pub(super) fn labels_and_annotations(
    metadata: &Map<String, Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let entries =
        |field: &str| metadata.get(field).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in entries("labels") {
        labels_entry(key, value, &format!("{path}.labels"), errors);
    }
    let field = format!("{path}.annotations");
    let mut bytes = 0;
    for (key, value) in entries("annotations") {
        let wrong = syntax::qualified_name(&key.to_lowercase()).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(field.clone(), key.as_str(), why)));
        bytes += key.len() + value.as_str().unwrap_or_default().len();
    }
    if bytes > ANNOTATION_BYTES {
        errors.push(FieldError::too_long(field, ANNOTATION_BYTES));
    }
}

/// One label: upstream reports both its key and its value at the path of the map.
pub(super) fn labels_entry(key: &str, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let wrong = syntax::qualified_name(key).into_iter();
    errors.extend(wrong.map(|why| FieldError::invalid(path, key, why)));
    let value = value.as_str().unwrap_or_default();
    let wrong = syntax::label_value(value).into_iter();
    errors.extend(wrong.map(|why| FieldError::invalid(path, value, why)));
}

/// What a kind's names look like.
fn name_syntax(gvk: &GroupVersionKind, name: &str) -> Vec<String> {
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "Namespace") => syntax::dns_label(name),
        ("", "Service") => syntax::dns_label(name),
        ("rbac.authorization.k8s.io", _) | ("certificates.k8s.io", "CertificateSigningRequest") => {
            syntax::path_segment(name)
        }
        ("certificates.k8s.io", "ClusterTrustBundle") => Vec::new(),
        ("networking.k8s.io", "IPAddress") => match name.parse::<std::net::IpAddr>() {
            Ok(_) => Vec::new(),
            Err(_) => {
                vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
            }
        },
        _ => syntax::dns_subdomain(name),
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
