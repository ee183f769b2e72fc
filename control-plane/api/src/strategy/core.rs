//! Hooks of the core group, but for pods and services.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;
use crate::go_time::format_time;

use super::{child, copy};

/// The finalizer that keeps a namespace until its contents are gone.
const KUBERNETES: &str = "kubernetes";

pub(super) fn create_namespace(object: &mut Object) {
    child(object, "status").insert("phase".to_owned(), "Active".into());
    let finalizers = child(object, "spec").entry("finalizers").or_insert_with(|| json!([]));
    if let Value::Array(list) = finalizers
        && !list.iter().any(|finalizer| finalizer == KUBERNETES)
    {
        list.push(KUBERNETES.into());
    }
}

/// The finalize subresource owns the finalizers of the spec and nothing else.
pub(super) fn finalize_namespace(object: &mut Object, old: &Object) {
    copy(object, old, "status");
}

pub(super) fn create_persistent_volume(object: &mut Object, now: Timestamp) {
    let status = child(object, "status");
    status.insert("phase".to_owned(), "Pending".into());
    status.insert("lastPhaseTransitionTime".to_owned(), format_time(now).into());
}

pub(super) fn update_persistent_volume_status(object: &mut Object, old: &Object, now: Timestamp) {
    let same_phase = object["status"]["phase"] == old["status"]["phase"];
    let was = old["status"].get("lastPhaseTransitionTime").cloned();
    let told = object["status"].get("lastPhaseTransitionTime").cloned();
    let time = match (same_phase, told) {
        (true, None) => was,
        (false, told) if told.is_none() || told == was => Some(format_time(now).into()),
        (_, told) => told,
    };
    if let Some(time) = time {
        child(object, "status").insert("lastPhaseTransitionTime".to_owned(), time);
    }
}

/// A claim's two fields for its source say the same, where the older one can say it.
pub(super) fn create_persistent_volume_claim(object: &mut Object) {
    child(object, "status").insert("phase".to_owned(), "Pending".into());
    let spec = child(object, "spec");
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None) => spec.insert("dataSourceRef".to_owned(), source),
        (None, Some(reference)) if reference.get("namespace").is_none() => {
            let known = matches!(
                (reference["apiGroup"].as_str().unwrap_or_default(), reference["kind"].as_str()),
                ("", Some("PersistentVolumeClaim"))
                    | ("snapshot.storage.k8s.io", Some("VolumeSnapshot"))
            );
            if known { spec.insert("dataSource".to_owned(), reference) } else { None }
        }
        _ => None,
    };
}

/// Only the names of secrets are kept.
pub(super) fn clean_secret_references(object: &mut Object) {
    for secret in object.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten() {
        *secret = match secret.get("name") {
            Some(name) => json!({ "name": name }),
            None => json!({}),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_begins_active_and_finalized() {
        let mut namespace = json!({ "metadata": { "name": "a" } });
        create_namespace(&mut namespace);
        assert_eq!(namespace["status"], json!({ "phase": "Active" }));
        assert_eq!(namespace["spec"], json!({ "finalizers": ["kubernetes"] }));
        let once = namespace.clone();
        create_namespace(&mut namespace);
        assert_eq!(namespace, once);
    }

    #[test]
    fn a_phase_change_is_timed() {
        let old = json!({ "status": { "phase": "Pending", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z" } });
        let mut bound = old.clone();
        bound["status"]["phase"] = "Bound".into();
        update_persistent_volume_status(&mut bound, &old, Timestamp::UNIX_EPOCH);
        assert_eq!(bound["status"]["lastPhaseTransitionTime"], "1970-01-01T00:00:00Z");
        let mut same = json!({ "status": { "phase": "Pending" } });
        update_persistent_volume_status(&mut same, &old, Timestamp::UNIX_EPOCH);
        assert_eq!(same, old);
    }
}
