//! What a write may change: which parts of an object each subresource owns, what is reset on the way in,
//! and when the generation grows. The general rule covers most kinds; the rest are short hooks.

mod batch;
mod certificates;
mod core;
mod pod;
mod service;
mod workload;

pub use certificates::{Requester, set_requester};
pub use pod::quality_of_service;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::Object;
use crate::names::GroupVersionKind;
use crate::registry::{Resource, builtin};

/// Prepares an object to be created: the status goes, the generation begins, fields that belong to the
/// server are set. Name, namespace and uid must be there.
pub fn prepare_create(gvk: &GroupVersionKind, object: &mut Object, now: Timestamp) {
    let metadata = child(object, "metadata");
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"] {
        metadata.remove(field);
    }
    if is_cluster_wide(gvk) {
        metadata.remove("namespace");
    }
    if has_generation(gvk) {
        metadata.insert("generation".to_owned(), 1.into());
    }
    if resets_status(gvk) {
        remove(object, "status");
    }
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "Pod") => pod::create(object, now),
        ("", "Namespace") => core::create_namespace(object),
        ("", "PersistentVolume") => core::create_persistent_volume(object, now),
        ("", "PersistentVolumeClaim") => core::create_persistent_volume_claim(object),
        ("", "ServiceAccount") => core::clean_secret_references(object),
        ("apps", "DaemonSet") => workload::create_daemon_set(object),
        ("batch", "Job") => batch::create_job(object),
        _ => {}
    }
}

/// Prepares an object to replace `old`: each subresource keeps what it does not own, metadata that only
/// the server writes is kept, and the generation grows with what users asked for.
pub fn prepare_update(
    gvk: &GroupVersionKind,
    object: &mut Object,
    old: &Object,
    subresource: Option<&str>,
    now: Timestamp,
) {
    keep(object, old, "metadata", &["generation"]);
    match subresource {
        None => update_main(gvk, object, old),
        Some("status") => update_status(gvk, object, old, now),
        Some("finalize") => core::finalize_namespace(object, old),
        Some("approval") => certificates::approve(object, old, now),
        Some("ephemeralcontainers") => pod::update_part(object, old, &["ephemeralContainers"]),
        Some("resize") => pod::resize(object, old),
        Some(_) => {}
    }
    keep_metadata(object, old);
    if is_cluster_wide(gvk) {
        child(object, "metadata").remove("namespace");
    }
}

fn update_main(gvk: &GroupVersionKind, object: &mut Object, old: &Object) {
    if resets_status(gvk) || gvk.kind == "Node" || gvk.kind == "CSINode" {
        copy(object, old, "status");
    }
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "Namespace") => keep(object, old, "spec", &["finalizers"]),
        ("", "ServiceAccount") => core::clean_secret_references(object),
        ("", "Service") => service::update(object, old),
        ("", "Secret") if object.get("type").is_none() => copy(object, old, "type"),
        ("apps", "DaemonSet") => workload::update_daemon_set(object, old),
        ("certificates.k8s.io", "CertificateSigningRequest") => copy(object, old, "spec"),
        _ => {}
    }
    if has_generation(gvk) && asks_for_more(gvk, object, old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        child(object, "metadata").insert("generation".to_owned(), (generation + 1).into());
    }
}

fn update_status(gvk: &GroupVersionKind, object: &mut Object, old: &Object, now: Timestamp) {
    copy(object, old, "spec");
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", "Pod") => pod::update_status(object, old),
        ("", "PersistentVolume") => core::update_persistent_volume_status(object, old, now),
        ("apps", "Deployment") => keep(object, old, "metadata", &["labels"]),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            certificates::update_status(object, old, now);
        }
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", _) => {
            copy_metadata_but_managed(object, old);
        }
        _ => {}
    }
}

/// Whether the users of the kind ask for something else than before.
fn asks_for_more(gvk: &GroupVersionKind, object: &Object, old: &Object) -> bool {
    let differs = |field: &str| object.get(field) != old.get(field);
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("apps", "Deployment") => {
            differs("spec") || object["metadata"]["annotations"] != old["metadata"]["annotations"]
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            ["addressType", "endpoints", "ports"].into_iter().any(differs)
                || object["metadata"]["labels"] != old["metadata"]["labels"]
        }
        ("", "PodTemplate") => differs("template"),
        ("admissionregistration.k8s.io", kind) if kind.ends_with("WebhookConfiguration") => {
            differs("webhooks")
        }
        ("scheduling.k8s.io", "PriorityClass") => false,
        _ => differs("spec"),
    }
}

/// Kinds that count what users ask for.
fn has_generation(gvk: &GroupVersionKind) -> bool {
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("", kind) => matches!(kind, "Pod" | "PodTemplate" | "ReplicationController"),
        ("apps", kind) => kind != "ControllerRevision",
        ("resource.k8s.io", kind) => {
            matches!(kind, "DeviceClass" | "DeviceTaintRule" | "ResourceSlice")
        }
        ("networking.k8s.io", kind) => matches!(kind, "Ingress" | "IngressClass" | "NetworkPolicy"),
        ("scheduling.k8s.io", kind) => kind == "PriorityClass",
        (
            "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "autoscaling"
            | "batch"
            | "discovery.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "lifecycle.k8s.io"
            | "policy",
            _,
        ) => true,
        _ => false,
    }
}

/// Kinds whose status only their status subresource writes. A node may bring its own when it is created.
fn resets_status(gvk: &GroupVersionKind) -> bool {
    resource(gvk).is_some_and(|resource| resource.subresource("status").is_some())
        && !matches!(gvk.kind.as_ref(), "Node" | "CSINode")
}

fn is_cluster_wide(gvk: &GroupVersionKind) -> bool {
    resource(gvk).is_some_and(|resource| !resource.namespaced)
}

fn resource(gvk: &GroupVersionKind) -> Option<&'static Resource> {
    builtin().resource_of_kind(gvk)
}

/// Whether an update of an object that is not there creates it.
pub fn allows_create_on_update(gvk: &GroupVersionKind) -> bool {
    matches!(
        (gvk.group.as_ref(), gvk.kind.as_ref()),
        ("", "Endpoints" | "Event" | "LimitRange" | "Service")
            | ("events.k8s.io", "Event")
            | ("coordination.k8s.io" | "rbac.authorization.k8s.io", _)
            | ("node.k8s.io", "RuntimeClass")
    )
}

/// Whether an update may leave out the resource version it builds on.
pub fn allows_unconditional_update(gvk: &GroupVersionKind) -> bool {
    match (gvk.group.as_ref(), gvk.kind.as_ref()) {
        ("storage.k8s.io", kind) => matches!(kind, "StorageClass" | "VolumeAttributesClass"),
        ("certificates.k8s.io", kind) => kind == "CertificateSigningRequest",
        ("scheduling.k8s.io", kind) => kind == "PriorityClass",
        (
            "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "coordination.k8s.io"
            | "internal.apiserver.k8s.io"
            | "lifecycle.k8s.io"
            | "node.k8s.io"
            | "policy"
            | "storagemigration.k8s.io",
            _,
        ) => false,
        _ => true,
    }
}

/// What no client changes.
fn keep_metadata(object: &mut Object, old: &Object) {
    let was = &old["metadata"];
    let metadata = child(object, "metadata");
    if let Some(created) = was.get("creationTimestamp") {
        metadata.insert("creationTimestamp".to_owned(), created.clone());
    }
    for field in ["uid", "deletionGracePeriodSeconds"] {
        if let Some(value) = was.get(field).filter(|_| !metadata.contains_key(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    match was.get("deletionTimestamp") {
        Some(deleted) => metadata.insert("deletionTimestamp".to_owned(), deleted.clone()),
        None => metadata.remove("deletionTimestamp"),
    };
}

/// Kinds of the API machinery leave metadata alone when their status is written.
fn copy_metadata_but_managed(object: &mut Object, old: &Object) {
    let version = object["metadata"].get("resourceVersion").cloned();
    let managed = object["metadata"].get("managedFields").cloned();
    copy(object, old, "metadata");
    let metadata = child(object, "metadata");
    for (field, value) in [("resourceVersion", version), ("managedFields", managed)] {
        match value {
            Some(value) => metadata.insert(field.to_owned(), value),
            None => metadata.remove(field),
        };
    }
}

/// Takes a field over from the old object, or away where that has none.
fn copy(object: &mut Object, old: &Object, field: &str) {
    let Some(map) = object.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// The same for fields inside an object.
fn keep(object: &mut Object, old: &Object, parent: &str, fields: &[&str]) {
    let to = child(object, parent);
    for field in fields {
        match old[parent].get(*field) {
            Some(value) => to.insert((*field).to_owned(), value.clone()),
            None => to.remove(*field),
        };
    }
    if to.is_empty() {
        remove(object, parent);
    }
}

fn remove(object: &mut Object, field: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(field);
    }
}

/// The object in a field, made where it is absent.
fn child<'a>(object: &'a mut Object, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let value = &mut object[field];
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object just above")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> GroupVersionKind {
        GroupVersionKind::new("apps", "v1", "Deployment")
    }

    fn updated(old: &Object, mut new: Object, subresource: Option<&str>) -> Object {
        prepare_update(&deployment(), &mut new, old, subresource, Timestamp::UNIX_EPOCH);
        new
    }

    #[test]
    fn a_new_object_has_no_status_and_generation_one() {
        let mut object = json!({
            "metadata": { "name": "a", "generation": 7, "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": {}, "status": { "replicas": 1 },
        });
        prepare_create(&deployment(), &mut object, Timestamp::UNIX_EPOCH);
        assert_eq!(object, json!({ "metadata": { "name": "a", "generation": 1 }, "spec": {} }));
    }

    #[test]
    fn the_generation_grows_with_the_spec_alone() {
        let old = json!({
            "metadata": { "name": "a", "uid": "u", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "replicas": 1 }, "status": { "replicas": 1 },
        });
        let generation = |object: &Object| object["metadata"]["generation"].as_i64();
        let mut same = old.clone();
        same["status"] = json!({ "replicas": 9 });
        same["metadata"]["labels"] = json!({ "a": "b" });
        let same = updated(&old, same, None);
        assert_eq!((generation(&same), &same["status"]), (Some(3), &old["status"]));
        let more =
            json!({ "metadata": { "name": "a", "generation": 9 }, "spec": { "replicas": 2 } });
        let more = updated(&old, more, None);
        assert_eq!((generation(&more), &more["metadata"]["uid"]), (Some(4), &json!("u")));
        let status = json!({
            "metadata": { "name": "a" }, "spec": { "replicas": 2 }, "status": { "replicas": 2 },
        });
        let status = updated(&old, status, Some("status"));
        assert_eq!((generation(&status), &status["spec"]), (Some(3), &old["spec"]));
        assert_eq!(status["status"], json!({ "replicas": 2 }));
    }

    #[test]
    fn a_deletion_once_begun_stays() {
        let old =
            json!({ "metadata": { "name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
        let kept = updated(&old, json!({ "metadata": { "name": "a" } }), None);
        assert_eq!(kept["metadata"]["deletionTimestamp"], old["metadata"]["deletionTimestamp"]);
        let begun = updated(&json!({ "metadata": { "name": "a" } }), old, None);
        assert_eq!(begun["metadata"].get("deletionTimestamp"), None);
    }
}
