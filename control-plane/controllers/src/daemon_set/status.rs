//! What a daemon set reports about its pods.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::PodsByNode;
use super::node::{Place, place};
use crate::history::HASH_LABEL;
use crate::pod::{is_available, is_ready};

/// The status these pods on these nodes add up to.
pub(super) fn status(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    pods: &PodsByNode,
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let min_ready = set.spec.min_ready_seconds.unwrap_or_default();
    let (mut ready, mut available, mut updated) = (0, 0, 0);
    let mut status = DaemonSetStatus {
        collision_count: old.collision_count,
        conditions: old.conditions,
        observed_generation: set.metadata.generation,
        ..DaemonSetStatus::default()
    };
    for node in nodes {
        let here = pods.get(&node.name_any()).map(Vec::as_slice).unwrap_or_default();
        let oldest = here.iter().min_by_key(|pod| {
            (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any())
        });
        if place(set, node) != Place::Run {
            status.number_misscheduled += i32::from(oldest.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = oldest else { continue };
        status.current_number_scheduled += 1;
        ready += i32::from(is_ready(pod));
        available += i32::from(is_available(pod, min_ready, now));
        updated += i32::from(pod.labels().get(HASH_LABEL).is_some_and(|label| label == hash));
    }
    let nonzero = |count: i32| (count != 0).then_some(count);
    status.number_ready = ready;
    status.number_available = nonzero(available);
    status.number_unavailable = nonzero(status.desired_number_scheduled - available);
    status.updated_number_scheduled = nonzero(updated);
    status
}
