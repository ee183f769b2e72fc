//! Hooks of certificate signing requests: who asked is written by the server, and conditions carry the
//! time at which they came.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;
use crate::go_time::format_time;

use super::{child, copy};

/// Who sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// Its name
    pub username: String,
    /// Its uid
    pub uid: String,
    /// Its groups
    pub groups: Vec<String>,
    /// What else the authenticator said
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Writes into a new signing request who asked for it.
pub fn set_requester(object: &mut Object, requester: &Requester) {
    let spec = child(object, "spec");
    let fields = [
        ("username", json!(requester.username), requester.username.is_empty()),
        ("uid", json!(requester.uid), requester.uid.is_empty()),
        ("groups", json!(requester.groups), requester.groups.is_empty()),
        ("extra", json!(requester.extra), requester.extra.is_empty()),
    ];
    for (field, value, empty) in fields {
        if empty {
            spec.remove(field);
        } else {
            spec.insert(field.to_owned(), value);
        }
    }
}

/// The status may not decide: approval and denial stay as they were.
pub(super) fn update_status(object: &mut Object, old: &Object, now: Timestamp) {
    let decides =
        |condition: &Value| matches!(condition["type"].as_str(), Some("Approved" | "Denied"));
    let told = conditions(object).into_iter().filter(|condition| !decides(condition));
    let kept = conditions(old).into_iter().filter(decides);
    let merged: Vec<Value> = kept.chain(told).collect();
    set_conditions(object, merged);
    stamp_conditions(object, old, now);
}

/// The decision may not touch anything else.
pub(super) fn approve(object: &mut Object, old: &Object, now: Timestamp) {
    stamp_conditions(object, old, now);
    let decided = conditions(object);
    copy(object, old, "spec");
    copy(object, old, "status");
    set_conditions(object, decided);
}

fn conditions(object: &Object) -> Vec<Value> {
    object["status"]["conditions"].as_array().cloned().unwrap_or_default()
}

fn set_conditions(object: &mut Object, conditions: Vec<Value>) {
    let status = child(object, "status");
    if conditions.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".to_owned(), conditions.into());
    }
    if status.is_empty() {
        super::remove(object, "status");
    }
}

fn stamp_conditions(object: &mut Object, old: &Object, now: Timestamp) {
    let before = conditions(old);
    let Some(list) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
        return;
    };
    for condition in list {
        if condition.get("lastUpdateTime").is_none() {
            condition["lastUpdateTime"] = format_time(now).into();
        }
        if condition.get("lastTransitionTime").is_some() {
            continue;
        }
        let same = before
            .iter()
            .find(|was| was["type"] == condition["type"] && was["status"] == condition["status"])
            .and_then(|was| was.get("lastTransitionTime"));
        condition["lastTransitionTime"] = same.cloned().unwrap_or_else(|| format_time(now).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_cannot_approve() {
        let old = json!({ "spec": { "request": "x" } });
        let mut new =
            json!({ "status": { "certificate": "c", "conditions": [{ "type": "Approved" }] } });
        update_status(&mut new, &old, Timestamp::UNIX_EPOCH);
        assert_eq!(new["status"], json!({ "certificate": "c" }));
    }

    #[test]
    fn an_approval_is_stamped_and_changes_nothing_else() {
        let old = json!({ "spec": { "request": "x" }, "status": { "certificate": "c" } });
        let mut new = json!({ "spec": {}, "status": { "conditions": [{ "type": "Approved", "status": "True" }] } });
        approve(&mut new, &old, Timestamp::UNIX_EPOCH);
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["status"]["certificate"], "c");
        assert_eq!(new["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
    }
}
