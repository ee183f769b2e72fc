//! What a stateful set reports about its pods.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::revision_of;
use super::plan::Revisions;
use crate::pod::{is_available, is_ready, is_terminating, phase};

/// The status these pods add up to. When all of them are of the new revision and ready, the update
/// is over and the new revision becomes the current one.
pub(super) fn status(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    revisions: &Revisions,
    now: Timestamp,
) -> StatefulSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let spec = set.spec.clone();
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let count = |fits: &dyn Fn(&Pod) -> bool| {
        let count = pods.iter().filter(|pod| fits(pod)).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    let runs = |pod: &Pod| phase(pod) == "Running";
    let is_of = |pod: &Pod, name: &str| !is_terminating(pod) && revision_of(pod) == Some(name);
    let total = count(&|_| true);
    let ready = count(&|pod| runs(pod) && is_ready(pod));
    let updated = count(&|pod| is_of(pod, &revisions.update));
    let mut current_count = count(&|pod| is_of(pod, &revisions.current));
    let mut current = revisions.current.clone();
    let wanted = spec.replicas.unwrap_or(1);
    let strategy = spec.update_strategy.and_then(|strategy| strategy.type_);
    let rolls = strategy.as_deref().is_none_or(|strategy| strategy == "RollingUpdate");
    if rolls && updated == wanted && ready == wanted && total == wanted {
        current.clone_from(&revisions.update);
        current_count = updated;
    }
    let nonzero = |count: i32| (count != 0).then_some(count);
    StatefulSetStatus {
        replicas: total,
        ready_replicas: nonzero(ready),
        available_replicas: nonzero(count(&|pod| runs(pod) && is_available(pod, min_ready, now))),
        current_replicas: nonzero(current_count),
        updated_replicas: nonzero(updated),
        current_revision: Some(current),
        update_revision: Some(revisions.update.clone()),
        observed_generation: set.metadata.generation,
        collision_count: Some(old.collision_count.unwrap_or_default()),
        conditions: old.conditions,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use serde_json::json;

    use super::*;
    use crate::history::HASH_LABEL;

    #[test]
    fn the_new_revision_becomes_current_when_all_pods_have_it() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "db"}, "spec": {"replicas": 2, "selector": {}, "template": {}},
        }))
        .unwrap();
        let revisions = Revisions {
            current: "old".into(),
            current_template: PodTemplateSpec::default(),
            update: "new".into(),
            update_template: PodTemplateSpec::default(),
        };
        let pod = |revision: &str| {
            let pod = json!({
                "metadata": {"labels": {HASH_LABEL: revision}},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            });
            Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
        };
        // revisions of the pods -> (current revision, current pods, updated pods)
        for (pods, expected) in [
            (["old", "new"], ("old", Some(1), Some(1))),
            (["new", "new"], ("new", Some(2), Some(2))),
        ] {
            let pods = pods.map(pod);
            let found = status(&set, &pods, &revisions, Timestamp::UNIX_EPOCH);
            let current = found.current_revision.as_deref().unwrap();
            assert_eq!((current, found.current_replicas, found.updated_replicas), expected);
        }
    }
}
