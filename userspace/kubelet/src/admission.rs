//! The node's last word: a pod that it has no room for fails at once, whoever placed it there.

use k8s_openapi::api::core::v1::Pod;

use crate::memory::Doom;
use crate::resources::Amounts;

/// What pods may take of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) pods: usize,
    pub(crate) cpu_milli: i64,
    pub(crate) memory_bytes: i64,
}

/// None if there is room for `pod` beside the others that have not ended.
pub(crate) fn refuse<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod>,
    room: Room,
) -> Option<Doom> {
    let others: Vec<&Pod> = others.filter(|other| !has_ended(other)).collect();
    let doom = |reason: &str, what: &str, requested: i64, used: i64, capacity: i64| Doom {
        reason: reason.into(),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {what}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    };
    if others.len() >= room.pods {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        return Some(doom("OutOfpods", "pods", 1, count(others.len()), count(room.pods)));
    }
    let wanted = Amounts::of_pod(pod);
    let used = |of: fn(&Amounts) -> i64| {
        others.iter().map(|other| of(&Amounts::of_pod(other))).fold(0, i64::saturating_add)
    };
    let cpu = used(|amounts| amounts.cpu_request_milli);
    if wanted.cpu_request_milli > 0 && cpu + wanted.cpu_request_milli > room.cpu_milli {
        return Some(doom("OutOfcpu", "cpu", wanted.cpu_request_milli, cpu, room.cpu_milli));
    }
    let memory = used(|amounts| amounts.memory_request_bytes);
    if wanted.memory_request_bytes > 0 && memory + wanted.memory_request_bytes > room.memory_bytes {
        let requested = wanted.memory_request_bytes;
        return Some(doom("OutOfmemory", "memory", requested, memory, room.memory_bytes));
    }
    None
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Is this pod new to the node, so that it can still be refused?
pub(crate) fn is_new(pod: &Pod) -> bool {
    let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    !begun && !has_ended(pod) && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(cpu: &str, memory: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({"status": {"phase": phase}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}}))
        .unwrap()
    }

    #[test]
    fn room() {
        let room = Room { pods: 2, cpu_milli: 1000, memory_bytes: 1000 };
        let small = || pod("100m", "100", "Running");
        for (case, new, others, expected) in [
            ("empty node", pod("1", "1000", "Pending"), vec![], None),
            ("too much cpu", pod("1", "0", "Pending"), vec![small()], Some("OutOfcpu")),
            ("too much memory", pod("0", "901", "Pending"), vec![small()], Some("OutOfmemory")),
            ("nothing asked", pod("0", "0", "Pending"), vec![pod("1", "1000", "Running")], None),
            ("too many", pod("0", "0", "Pending"), vec![small(), small()], Some("OutOfpods")),
            (
                "ended ones do not count",
                pod("1", "0", "Pending"),
                vec![pod("1", "1", "Failed")],
                None,
            ),
        ] {
            let refused = refuse(&new, others.iter(), room);
            assert_eq!(refused.map(|doom| doom.reason).as_deref(), expected, "{case}");
        }
    }
}
