//! `metadata` of an object in flight.

use serde_json::{Map, Value};
use skep_api::Object;

pub(crate) const ORPHAN: &str = "orphan";
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// The object's metadata, made when absent.
pub(crate) fn of_mut(object: &mut Object) -> &mut Map<String, Value> {
    if !object.get("metadata").is_some_and(Value::is_object) {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"].as_object_mut().expect("metadata was just made an object")
}

/// A text field of the metadata; empty when absent.
pub(crate) fn text<'a>(object: &'a Object, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Sets a text field, or removes it when the text is empty.
pub(crate) fn set_text(object: &mut Object, field: &str, text: &str) {
    let metadata = of_mut(object);
    if text.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), text.into());
    }
}

/// Takes over fields that only the server sets.
pub(crate) fn keep(object: &mut Object, old: &Object, fields: &[&str]) {
    let metadata = of_mut(object);
    for &field in fields {
        match old["metadata"].get(field) {
            Some(value) => drop(metadata.insert(field.to_owned(), value.clone())),
            None => drop(metadata.remove(field)),
        }
    }
}

pub(crate) fn finalizers(object: &Object) -> Vec<String> {
    let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    finalizers.filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(crate) fn set_finalizers(object: &mut Object, finalizers: Vec<String>) {
    let metadata = of_mut(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

pub(crate) fn is_deleting(object: &Object) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// `metadata.deletionGracePeriodSeconds`.
pub(crate) fn grace_seconds(object: &Object) -> Option<i64> {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64()
}

/// A moment as `metav1.Time` is written.
pub(crate) fn time(moment: jiff::Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Marks an object for deletion after a grace period.
pub(crate) fn mark_deleting(object: &mut Object, now: jiff::Timestamp, grace_seconds: i64) {
    let first = !is_deleting(object);
    let metadata = of_mut(object);
    if first {
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
        let until = now + jiff::SignedDuration::from_secs(grace_seconds);
        metadata.insert("deletionTimestamp".to_owned(), time(until).into());
    }
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace_seconds.into());
}
