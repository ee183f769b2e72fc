//! The annotations in which a deployment and its replica sets keep their history.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::scale::{max_surge, wanted};

/// Which revision a replica set is, and which a deployment is at.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions a replica set has been before, each rolled back to.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The replicas the deployment wanted when the set was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// That, and the surge.
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

const MAX_HISTORY_CHARS: usize = 2000;
/// What a replica set does not take over from its deployment.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

type Annotations = BTreeMap<String, String>;

/// The revision of a set; 0 when it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    number(set, REVISION).unwrap_or_default()
}

/// A number kept in an annotation.
pub(super) fn number(set: &ReplicaSet, annotation: &str) -> Option<i64> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// Gives a set the deployment's annotations and makes it at least revision `new`. A set that becomes
/// current again remembers the revision it was.
pub(super) fn make_current(set: &mut ReplicaSet, deployment: &Deployment, new: i64) {
    let inherited = deployment.metadata.annotations.iter().flatten();
    let inherited = inherited.filter(|(key, _)| !OWN.contains(&key.as_str()));
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.extend(inherited.map(|(key, value)| (key.clone(), value.clone())));
    let old = annotations.get(REVISION).cloned();
    let old_number = match old.as_deref() {
        None | Some("") => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(number) => number,
            Err(_) => return,
        },
    };
    if old_number < new {
        annotations.insert(REVISION.into(), new.to_string());
        if let Some(old) = old {
            remember(annotations, &old);
        }
    }
}

fn remember(annotations: &mut Annotations, old: &str) {
    let history = annotations.entry(HISTORY.into()).or_default();
    let mut revisions: Vec<&str> = history.split(',').filter(|entry| !entry.is_empty()).collect();
    revisions.push(old);
    let mut joined = revisions.join(",");
    while joined.len() > MAX_HISTORY_CHARS && revisions.len() > 1 {
        revisions.remove(0);
        joined = revisions.join(",");
    }
    *history = joined;
}

/// Writes down what the deployment wants, for proportional scaling later.
pub(super) fn note_size(set: &mut ReplicaSet, deployment: &Deployment) {
    let (desired, maximum) = size_notes(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.into(), desired);
    annotations.insert(MAXIMUM.into(), maximum);
}

fn size_notes(deployment: &Deployment) -> (String, String) {
    let wanted = wanted(deployment);
    (wanted.to_string(), (wanted + max_surge(deployment)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(annotations: &Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "annotations": annotations},
            "spec": {"selector": {}},
        }))
        .unwrap()
    }

    #[test]
    fn a_set_that_becomes_current_again_remembers_what_it_was() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "web", "annotations": {
                "team": "shop", REVISION: "9", "kubectl.kubernetes.io/last-applied-configuration": "{}",
            }},
            "spec": {"selector": {}, "template": {}},
        }))
        .unwrap();
        // (annotations before, new revision) -> (revision, history)
        let cases = [
            (json!({}), 1, ("1", None)),
            (json!({REVISION: "1"}), 3, ("3", Some("1"))),
            (json!({REVISION: "3", HISTORY: "1"}), 5, ("5", Some("1,3"))),
            (json!({REVISION: "5"}), 4, ("5", None)),
            (json!({REVISION: "five"}), 4, ("five", None)),
        ];
        for (before, new, (revision, history)) in cases {
            let mut set = set(&before);
            make_current(&mut set, &deployment, new);
            let annotations = set.metadata.annotations.unwrap();
            assert_eq!(annotations[REVISION], revision, "{before}");
            assert_eq!(annotations.get(HISTORY).map(String::as_str), history, "{before}");
            assert_eq!(annotations["team"], "shop");
            assert_eq!(annotations.len(), 2 + usize::from(history.is_some()));
        }
    }

    #[test]
    fn history_is_bounded() {
        let mut annotations = Annotations::new();
        (1000..2000).for_each(|old: i32| remember(&mut annotations, &old.to_string()));
        assert!(annotations[HISTORY].len() <= MAX_HISTORY_CHARS);
        assert!(annotations[HISTORY].ends_with(",1999"));
    }
}
