//! Whether a node can still be heard. Only when something changes counts, never what a node's own
//! clock says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The conditions that only a kubelet can know.
const KUBELETS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// How long silence is borne.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// After a node was heard.
    grace: SignedDuration,
    /// After a node was made, before it is heard for the first time.
    startup: SignedDuration,
}

impl Patience {
    pub(super) fn new(grace: Duration) -> Self {
        let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        Self { grace, startup: grace.max(SignedDuration::from_secs(60)) }
    }
}

/// What was last heard of a node, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probe {
    heard_at: Timestamp,
    renewed: Option<Timestamp>,
    heartbeat: Option<Timestamp>,
    /// It was ready when last looked at.
    pub(super) was_ready: bool,
}

impl Probe {
    pub(super) fn new(node: &Node, lease: Option<&Lease>, now: Timestamp) -> Self {
        Self {
            heard_at: now,
            renewed: renewed(lease),
            heartbeat: heartbeat(node),
            was_ready: ready_status(node) == "True",
        }
    }

    /// Takes note of a new lease or heartbeat.
    pub(super) fn hear(&mut self, node: &Node, lease: Option<&Lease>, now: Timestamp) {
        let (renewed, heartbeat) = (renewed(lease), heartbeat(node));
        let ours = ready_status(node) == "Unknown";
        if renewed > self.renewed || (heartbeat > self.heartbeat && !ours) {
            self.heard_at = now;
        }
        self.renewed = renewed;
        self.heartbeat = heartbeat;
    }
}

fn renewed(lease: Option<&Lease>) -> Option<Timestamp> {
    lease?.spec.as_ref()?.renew_time.as_ref().map(|time| time.0)
}

fn heartbeat(node: &Node) -> Option<Timestamp> {
    condition(node, "Ready")?.last_heartbeat_time.as_ref().map(|time| time.0)
}

/// The condition of this type.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.iter().flatten();
    { conditions }.find(|condition| condition.type_ == kind)
}

/// `True`, `False` or `Unknown`; a node that never said is unknown.
pub(super) fn ready_status(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |ready| ready.status.as_str())
}

/// The node with everything unknown that only its kubelet could know, if it has been silent for too
/// long and does not say so yet.
pub(super) fn lost_contact(
    node: &Node,
    probe: Probe,
    patience: Patience,
    now: Timestamp,
) -> Option<Node> {
    let never = condition(node, "Ready").is_none();
    let created = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let (since, limit) = if never {
        (created.map_or(probe.heard_at, |created| created.max(probe.heard_at)), patience.startup)
    } else {
        (probe.heard_at, patience.grace)
    };
    if now.duration_since(since) <= limit {
        return None;
    }
    let mut lost = node.clone();
    let conditions = lost.status.get_or_insert_default().conditions.get_or_insert_default();
    let mut changed = false;
    for kind in KUBELETS {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            None => {
                conditions.push(unknown(kind, now));
                changed = true;
            }
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
                changed = true;
            }
            Some(_) => {}
        }
    }
    changed.then_some(lost)
}

fn unknown(kind: &str, now: Timestamp) -> NodeCondition {
    NodeCondition {
        type_: kind.into(),
        status: "Unknown".into(),
        reason: Some("NodeStatusNeverUpdated".into()),
        message: Some("Kubelet never posted node status.".into()),
        last_heartbeat_time: None,
        last_transition_time: Some(Time(now)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(ready: Option<&str>, heartbeat: &str) -> Node {
        let conditions: Vec<_> = ready
            .into_iter()
            .map(
                |status| json!({"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}),
            )
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {}, "spec": {"renewTime": renewed}})).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T00:{text}Z").parse().unwrap()
    }

    const START: &str = "2026-01-01T00:00:00.000000Z";

    #[test]
    fn silence_is_borne_for_a_while() {
        let patience = Patience::new(Duration::from_secs(50));
        // (Ready, seconds of silence) -> (lost, reason of Ready)
        let cases = [
            (Some("True"), "00:50", None),
            (Some("True"), "00:51", Some("NodeStatusUnknown")),
            (Some("False"), "00:51", Some("NodeStatusUnknown")),
            (None, "00:59", None),
            (None, "01:01", Some("NodeStatusNeverUpdated")),
        ];
        for (ready, now, expected) in cases {
            let node = node(ready, START);
            let probe = Probe::new(&node, None, at("00:00"));
            let lost = lost_contact(&node, probe, patience, at(now));
            let reason = lost.as_ref().and_then(|node| condition(node, "Ready")?.reason.clone());
            assert_eq!(reason.as_deref(), expected, "{ready:?} {now}");
            if let Some(lost) = lost {
                assert_eq!(lost_contact(&lost, probe, patience, at(now)), None, "said once");
            }
        }
    }

    #[test]
    fn a_lease_or_a_heartbeat_is_a_sign_of_life() {
        let quiet = node(Some("True"), START);
        let mut probe = Probe::new(&quiet, Some(&lease(START)), at("00:00"));
        probe.hear(&quiet, Some(&lease(START)), at("00:10"));
        assert_eq!(probe.heard_at, at("00:00"), "nothing new");
        probe.hear(&quiet, Some(&lease("2026-01-01T00:00:20.000000Z")), at("00:20"));
        assert_eq!(probe.heard_at, at("00:20"));
        probe.hear(&node(Some("True"), "2026-01-01T00:00:30Z"), None, at("00:30"));
        assert_eq!(probe.heard_at, at("00:30"));
    }
}
