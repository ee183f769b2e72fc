//! Events of the core group and of events.k8s.io: the same fields under other names.

use serde_json::Value;

use crate::Object;

/// Name in the core group, name in events.k8s.io.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub(super) fn from_core(object: &mut Object) {
    rename(object, NAMES.into_iter());
}

pub(super) fn to_core(object: &mut Object) {
    rename(object, NAMES.into_iter().map(|(core, events)| (events, core)));
}

fn rename(object: &mut Object, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Value::Object(map) = object else { return };
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back() {
        let core = json!({
            "metadata": { "name": "a" }, "involvedObject": { "kind": "Pod" }, "message": "m", "reason": "r",
            "source": { "component": "kubelet" }, "count": 2, "reportingComponent": "kubelet",
        });
        let mut event = core.clone();
        from_core(&mut event);
        assert_eq!((&event["note"], &event["regarding"]["kind"]), (&json!("m"), &json!("Pod")));
        to_core(&mut event);
        assert_eq!(event, core);
    }
}
