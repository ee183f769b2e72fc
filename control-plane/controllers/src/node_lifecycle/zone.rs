//! How fast nodes that went silent are emptied. One node is emptied at once; when many go at the
//! same time in a zone it is more likely that the zone has been cut off than that they all died.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;

use super::health::ready_status;

/// Normally one node in ten seconds.
const NORMAL: SignedDuration = SignedDuration::from_secs(10);
/// In a large zone that is mostly silent.
const SLOW: SignedDuration = SignedDuration::from_secs(100);
/// A zone up to this size that is mostly silent is left alone.
const LARGE: usize = 50;

/// Where a node is: its region and zone.
pub(super) fn zone_of(node: &Node) -> String {
    let label = |key: &str| {
        let labels = node.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(key)).cloned().unwrap_or_default()
    };
    format!("{}:{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

/// The state of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Normal,
    /// More than two nodes and more than 55 % of them are silent.
    Partial,
    /// All are.
    Full,
}

fn state(ready: usize, silent: usize) -> State {
    if ready == 0 && silent > 0 {
        State::Full
    } else if silent > 2 && silent * 100 >= (ready + silent) * 55 {
        State::Partial
    } else {
        State::Normal
    }
}

/// How long to wait between two nodes of a zone; nothing when none may be emptied.
/// `all_cut_off`: every zone is silent as a whole, so it is rather this process that is cut off.
fn pace(state: State, size: usize, all_cut_off: bool) -> Option<SignedDuration> {
    match state {
        _ if all_cut_off => None,
        State::Partial if size <= LARGE => None,
        State::Partial => Some(SLOW),
        State::Normal | State::Full => Some(NORMAL),
    }
}

/// When each zone last gave up a node.
#[derive(Default)]
pub(super) struct Zones {
    last: HashMap<String, Timestamp>,
}

impl Zones {
    /// Asks to empty a node of a zone now; a yes counts.
    pub(super) fn may_evict(&mut self, zone: &str, nodes: &[Arc<Node>], now: Timestamp) -> bool {
        let mut counts: HashMap<String, (usize, usize)> = HashMap::new();
        for node in nodes {
            let (ready, silent) = counts.entry(zone_of(node)).or_default();
            *(if ready_status(node) == "True" { ready } else { silent }) += 1;
        }
        let all_cut_off =
            counts.values().all(|(ready, silent)| state(*ready, *silent) == State::Full);
        let (ready, silent) = counts.get(zone).copied().unwrap_or_default();
        let Some(pace) = pace(state(ready, silent), ready + silent, all_cut_off) else {
            return false;
        };
        let due = self.last.get(zone).is_none_or(|last| now.duration_since(*last) >= pace);
        if due {
            self.last.insert(zone.into(), now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes(zones: &[(&str, usize, usize)]) -> Vec<Arc<Node>> {
        let node = |zone: &str, ready: &str| {
            let node = json!({
                "metadata": {"labels": {"topology.kubernetes.io/zone": zone}},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            });
            Arc::new(serde_json::from_value(node).unwrap())
        };
        let one = |(zone, ready, silent): &(&str, usize, usize)| {
            let ready = (0..*ready).map(|_| node(zone, "True"));
            ready.chain((0..*silent).map(|_| node(zone, "Unknown"))).collect::<Vec<_>>()
        };
        zones.iter().flat_map(one).collect()
    }

    #[test]
    fn the_more_are_silent_the_slower_they_are_emptied() {
        // zones (ready, silent): the first is asked about -> seconds between two nodes
        let cases = [
            (vec![("a", 2, 1)], Some(10)),
            (vec![("a", 0, 1)], None),
            (vec![("a", 0, 1), ("b", 1, 0)], Some(10)),
            (vec![("a", 2, 4)], None),
            (vec![("a", 40, 60)], Some(100)),
        ];
        for (zones, expected) in cases {
            let nodes = nodes(&zones);
            let mut limits = Zones::default();
            let start = Timestamp::UNIX_EPOCH;
            assert_eq!(limits.may_evict(":a", &nodes, start), expected.is_some(), "{zones:?}");
            if let Some(seconds) = expected {
                let almost = start + SignedDuration::from_secs(seconds - 1);
                assert!(!limits.may_evict(":a", &nodes, almost), "{zones:?}");
                let then = start + SignedDuration::from_secs(seconds);
                assert!(limits.may_evict(":a", &nodes, then), "{zones:?}");
            }
        }
    }
}
