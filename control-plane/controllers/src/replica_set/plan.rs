//! How many pods to make, or which to delete.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use super::ranking::first_to_go;

/// No more than this many pods are made or deleted in one go.
const BURST: usize = 500;

/// What a set lacks or has too much of.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    Nothing,
    Create { count: usize, template: Box<PodTemplateSpec> },
    Delete(Vec<Arc<Pod>>),
}

/// Compares the active pods with what is asked for. `related` are the pods of all sets of the same
/// owner: nodes that hold many of them give up theirs first.
pub(super) fn plan(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    related: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let spec = &set.spec;
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
    if active.len() < wanted {
        let template = Box::new(spec.template.clone().unwrap_or_default());
        Plan::Create { count: (wanted - active.len()).min(BURST), template }
    } else if active.len() > wanted {
        let count = (active.len() - wanted).min(BURST);
        Plan::Delete(first_to_go(active, related, now).into_iter().take(count).collect())
    } else {
        Plan::Nothing
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods(count: usize) -> Vec<Arc<Pod>> {
        let pod = |n| serde_json::from_value(json!({"metadata": {"name": format!("p{n}")}}));
        (0..count).map(|n| Arc::new(pod(n).unwrap())).collect()
    }

    #[test]
    fn the_difference_is_made_up() {
        // (replicas asked for, active pods) -> (created, deleted)
        let cases = [
            ((3, 0), (3, 0)),
            ((3, 2), (1, 0)),
            ((3, 3), (0, 0)),
            ((3, 5), (0, 2)),
            ((0, 1), (0, 1)),
            ((900, 0), (500, 0)),
        ];
        for ((replicas, active), expected) in cases {
            let set: ReplicaSet = serde_json::from_value(json!({
                "metadata": {"name": "web"},
                "spec": {"replicas": replicas, "selector": {}, "template": {}},
            }))
            .unwrap();
            let found = match plan(&set, &pods(active), &[], Timestamp::UNIX_EPOCH) {
                Plan::Nothing => (0, 0),
                Plan::Create { count, .. } => (count, 0),
                Plan::Delete(pods) => (0, pods.len()),
            };
            assert_eq!(found, expected, "{replicas} wanted, {active} there");
        }
    }
}
