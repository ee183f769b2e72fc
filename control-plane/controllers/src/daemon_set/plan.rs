//! Which pods a daemon set makes and deletes next.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::PodsByNode;
use super::node::{Place, place};
use crate::history::HASH_LABEL;
use crate::int_or_percent::{Round, resolve};
use crate::pod::{is_available, is_ready, is_terminating, phase};
use crate::runtime::Event;

/// No more than this many are made or deleted in one go.
const BURST: usize = 250;
/// A pod that failed is not replaced before it is this old: a node that refuses it would be asked
/// without end.
const FAILED_REST: SignedDuration = SignedDuration::from_secs(10);

/// The pods to make, by node, and those to delete.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    pub(super) events: Vec<Event>,
    pub(super) look_again: Option<Duration>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }

    fn bounded(mut self) -> Self {
        self.create.truncate(BURST);
        self.delete.truncate(BURST);
        self
    }
}

/// The oldest first; placed before unplaced.
fn by_age(pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    let mut pods = pods.to_vec();
    pods.sort_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (crate::pod::node_name(pod).is_empty(), created, pod.name_any())
    });
    pods
}

fn is_new(pod: &Pod, hash: &str) -> bool {
    pod.labels().get(HASH_LABEL).is_some_and(|label| label == hash)
}

/// Makes up for what is missing on each node and takes away what is too much.
pub(super) fn manage(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    pods: &PodsByNode,
    hash: &str,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    for node in nodes {
        let name = node.name_any();
        let here = pods.get(&name).map(Vec::as_slice).unwrap_or_default();
        match place(set, node) {
            Place::Leave => plan.delete.extend(here.iter().filter(|p| !is_terminating(p)).cloned()),
            Place::Run if here.is_empty() => plan.create.push(name),
            place => keep_one(set, &name, here, place, hash, now, &mut plan),
        }
    }
    // Pods made for nodes that are gone will never be placed.
    let known = |name: &String| nodes.iter().any(|node| node.metadata.name.as_ref() == Some(name));
    let lost = pods.iter().filter(|(node, _)| !known(node)).flat_map(|(_, pods)| pods);
    let lost = lost.filter(|pod| crate::pod::node_name(pod).is_empty() && !is_terminating(pod));
    plan.delete.extend(lost.cloned());
    plan.bounded()
}

/// Leaves one pod on a node, or while a surge goes on, one of each revision.
fn keep_one(
    set: &DaemonSet,
    node: &str,
    here: &[Arc<Pod>],
    place: Place,
    hash: &str,
    now: Timestamp,
    plan: &mut Plan,
) {
    let mut running = Vec::new();
    for pod in here.iter().filter(|pod| !is_terminating(pod)) {
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        match phase(pod) {
            "Failed" => {
                let created = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
                let rest = FAILED_REST - now.duration_since(created);
                if let Some(rest) = Duration::try_from(rest).ok().filter(|rest| !rest.is_zero()) {
                    plan.look_again = Some(plan.look_again.map_or(rest, |known| known.min(rest)));
                    continue;
                }
                let message =
                    format!("Found failed daemon pod {name} on node {node}, will try to kill it");
                plan.events.push(Event::warning("FailedDaemonPod", message));
                plan.delete.push(pod.clone());
            }
            "Succeeded" => {
                let message = format!(
                    "Found succeeded daemon pod {name} on node {node}, will try to delete it"
                );
                plan.events.push(Event::normal("SucceededDaemonPod", message));
                plan.delete.push(pod.clone());
            }
            _ => running.push(pod.clone()),
        }
    }
    let running = by_age(&running);
    if surge(set, 1) == 0 {
        plan.delete.extend(running.into_iter().skip(1));
        return;
    }
    if running.is_empty() && place == Place::Run {
        plan.create.push(node.into());
    }
    let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| is_new(pod, hash));
    plan.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).cloned());
    if let (Some(new), Some(old)) = (new.first(), old.first()) {
        let min_ready = set.spec.min_ready_seconds.unwrap_or_default();
        if !is_ready(old) || is_available(new, min_ready, now) {
            plan.delete.push(old.clone());
        }
    }
}

/// Replaces pods of older revisions, within the bounds of the update strategy.
pub(super) fn roll(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    pods: &PodsByNode,
    hash: &str,
    now: Timestamp,
) -> Plan {
    let strategy = set.spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return Plan::default();
    }
    let desired: Vec<String> = nodes
        .iter()
        .filter(|node| place(set, node) == Place::Run)
        .map(|node| node.name_any())
        .collect();
    let (surge, unavailable) = (surge(set, desired.len()), max_unavailable(set, desired.len()));
    let min_ready = set.spec.min_ready_seconds.unwrap_or_default();
    let (mut at_once, mut candidates, mut used) = (Vec::new(), Vec::new(), 0);
    for node in desired {
        let here = pods.get(&node).map(Vec::as_slice).unwrap_or_default();
        let running: Vec<_> = here.iter().filter(|pod| !is_terminating(pod)).cloned().collect();
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| is_new(pod, hash));
        match (new.first(), old.first()) {
            (None, Some(old)) if is_available(old, min_ready, now) => {
                candidates.push((node, old.clone()));
            }
            (None, Some(old)) => {
                at_once.push((node, old.clone()));
                used += usize::from(surge == 0);
            }
            (Some(new), None) => {
                used += usize::from(surge == 0 && !is_available(new, min_ready, now));
            }
            (Some(new), Some(_)) => {
                used += usize::from(surge == 0 || !is_available(new, min_ready, now));
            }
            (None, None) => used += usize::from(surge == 0),
        }
    }
    let room = if surge > 0 { surge } else { unavailable }.saturating_sub(used);
    let chosen = at_once.into_iter().chain(candidates.into_iter().take(room));
    let mut plan = Plan::default();
    for (node, old) in chosen {
        if surge > 0 { plan.create.push(node) } else { plan.delete.push(old) }
    }
    plan.bounded()
}

fn rolling_number(
    set: &DaemonSet,
    desired: usize,
    pick: fn(&k8s_openapi::api::apps::v1::RollingUpdateDaemonSet) -> Option<&IntOrString>,
) -> Option<usize> {
    let rolling = set.spec.update_strategy.as_ref()?.rolling_update.as_ref()?;
    let desired = i32::try_from(desired).unwrap_or(i32::MAX);
    usize::try_from(resolve(pick(rolling)?, desired, Round::Up)?).ok()
}

/// How many nodes may have two pods.
fn surge(set: &DaemonSet, desired: usize) -> usize {
    rolling_number(set, desired, |rolling| rolling.max_surge.as_ref()).unwrap_or_default()
}

/// How many nodes may have no available pod.
fn max_unavailable(set: &DaemonSet, desired: usize) -> usize {
    let number = rolling_number(set, desired, |rolling| rolling.max_unavailable.as_ref());
    match number {
        None => 1,
        Some(0) if surge(set, desired) == 0 => 1,
        Some(number) => number,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(rolling: &Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "agent"},
            "spec": {"selector": {}, "template": {"spec": {"containers": []}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}},
        }))
        .unwrap()
    }

    fn nodes(count: usize) -> Vec<Arc<Node>> {
        let node = |n| serde_json::from_value(json!({"metadata": {"name": format!("n{n}")}}));
        (0..count).map(|n| Arc::new(node(n).unwrap())).collect()
    }

    fn pod(name: &str, node: usize, hash: &str, phase: &str) -> (String, Arc<Pod>) {
        let ready = if phase == "Running" { "True" } else { "False" };
        let pod = json!({
            "metadata": {"name": name, "labels": {HASH_LABEL: hash},
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": format!("n{node}"), "containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        });
        (format!("n{node}"), Arc::new(serde_json::from_value(pod).unwrap()))
    }

    fn by_node(pods: Vec<(String, Arc<Pod>)>) -> PodsByNode {
        let mut by_node = PodsByNode::new();
        for (node, pod) in pods {
            by_node.entry(node).or_default().push(pod);
        }
        by_node
    }

    fn shown(plan: &Plan) -> (Vec<&str>, Vec<String>) {
        let create = plan.create.iter().map(String::as_str).collect();
        (create, plan.delete.iter().map(|pod| pod.name_any()).collect())
    }

    #[test]
    fn every_node_has_one_pod() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let plain = set(&json!({}));
        let cases = [
            (vec![], (vec!["n0", "n1"], vec![])),
            (vec![pod("a", 0, "h", "Running")], (vec!["n1"], vec![])),
            (
                vec![
                    pod("a", 0, "h", "Running"),
                    pod("b", 0, "h", "Running"),
                    pod("c", 1, "h", "Running"),
                ],
                (vec![], vec!["b".to_owned()]),
            ),
            (
                vec![pod("a", 0, "h", "Failed"), pod("c", 1, "h", "Running")],
                (vec![], vec!["a".into()]),
            ),
        ];
        for (pods, expected) in cases {
            let plan = manage(&plain, &nodes(2), &by_node(pods), "h", now);
            assert_eq!(shown(&plan), expected);
        }
        let young = "2026-01-01T00:00:04Z".parse().unwrap();
        let failed = by_node(vec![pod("a", 0, "h", "Failed")]);
        let plan = manage(&plain, &nodes(1), &failed, "h", young);
        assert!(plan.is_empty());
        assert_eq!(plan.look_again, Some(Duration::from_secs(6)));
    }

    #[test]
    fn a_roll_out_stays_within_its_bounds() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let old = |names: [&str; 3]| {
            names
                .iter()
                .enumerate()
                .map(|(n, name)| pod(name, n, "old", "Running"))
                .collect::<Vec<_>>()
        };
        let mut one_new = old(["a", "b", "c"]);
        one_new[0] = pod("a", 0, "new", "Pending");
        let mut broken = old(["a", "b", "c"]);
        broken[2] = pod("c", 2, "old", "Pending");
        let cases = [
            (json!({"maxUnavailable": 1}), old(["a", "b", "c"]), (vec![], vec!["a"])),
            (json!({"maxUnavailable": "60%"}), old(["a", "b", "c"]), (vec![], vec!["a", "b"])),
            (json!({"maxUnavailable": 1}), one_new, (vec![], vec![])),
            (json!({"maxUnavailable": 1}), broken, (vec![], vec!["c"])),
            (
                json!({"maxSurge": 1, "maxUnavailable": 0}),
                old(["a", "b", "c"]),
                (vec!["n0"], vec![]),
            ),
        ];
        for (rolling, pods, (create, delete)) in cases {
            let plan = roll(&set(&rolling), &nodes(3), &by_node(pods), "new", now);
            let delete = delete.into_iter().map(str::to_owned).collect();
            assert_eq!(shown(&plan), (create, delete), "{rolling}");
        }
    }
}
