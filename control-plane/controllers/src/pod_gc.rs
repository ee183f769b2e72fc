//! Clears away pods that nobody else will: those of nodes that are gone, those that were deleted
//! before they got a node, and the oldest of too many that have ended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use tracing::{debug, info};

use crate::Error;
use crate::pod::{is_terminal, is_terminating, node_name};
use crate::runtime::{Context, Key, Objects, is_not_found};

/// The controller's name.
pub(crate) const NAME: &str = "pod-garbage-collector-controller";

const PERIOD: Duration = Duration::from_secs(20);
/// How long a node must have been missing: caches fill in any order.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Why a pod is cleared away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    NodeGone,
    NodeOutOfService,
    NeverPlaced,
    TooMany,
}

/// Sets up the controller; more ended pods than `threshold` are too many, 0 means no limit.
pub(crate) fn set_up(context: &mut Context, objects: Objects, threshold: usize) {
    let mut controller = context.controller(NAME, objects);
    let pods = controller.informer::<Pod>();
    let nodes = controller.informer::<Node>();
    let objects = controller.objects();
    controller.spawn(async move {
        let mut missing = Missing::default();
        loop {
            let now = Timestamp::now();
            let (all_pods, all_nodes) = (pods.cache().all(), nodes.cache().all());
            let gone = missing.update(&all_pods, &all_nodes, now);
            let gone = confirm_gone(&objects, gone).await;
            for (pod, why) in judge(&all_pods, &all_nodes, &gone, threshold) {
                if let Err(error) = clear(&objects, &pod, why, now).await {
                    debug!(pod = %Key::of(&pod.metadata), %error, "not cleared away");
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    });
}

/// Nodes that pods name and that do not exist, and since when.
#[derive(Default)]
struct Missing {
    since: HashMap<String, Timestamp>,
}

impl Missing {
    /// Answers which have been missing for long enough.
    fn update(
        &mut self,
        pods: &[Arc<Pod>],
        nodes: &[Arc<Node>],
        now: Timestamp,
    ) -> HashSet<String> {
        let known: HashSet<&str> =
            nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
        let named = pods.iter().map(|pod| node_name(pod));
        let missing: HashSet<&str> =
            named.filter(|name| !name.is_empty() && !known.contains(name)).collect();
        self.since.retain(|name, _| missing.contains(name.as_str()));
        for name in missing {
            self.since.entry(name.to_owned()).or_insert(now);
        }
        let long = self.since.iter().filter(|(_, since)| now.duration_since(**since) >= QUARANTINE);
        long.map(|(name, _)| name.clone()).collect()
    }
}

/// Asks the server, which knows better than a cache.
async fn confirm_gone(objects: &Objects, names: HashSet<String>) -> HashSet<String> {
    let mut gone = HashSet::new();
    for name in names {
        if let Err(error) = objects.get::<Node>(&Key::cluster(&name)).await
            && is_not_found(&error)
        {
            gone.insert(name);
        }
    }
    gone
}

fn judge(
    pods: &[Arc<Pod>],
    nodes: &[Arc<Node>],
    gone: &HashSet<String>,
    threshold: usize,
) -> Vec<(Arc<Pod>, Why)> {
    let out_of_service: HashSet<&str> = nodes
        .iter()
        .filter(|node| {
            let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
            { taints }.any(|taint| taint.key == OUT_OF_SERVICE) && !is_ready(node)
        })
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    let reason = |pod: &Pod| {
        let node = node_name(pod);
        if gone.contains(node) {
            Some(Why::NodeGone)
        } else if is_terminating(pod) && node.is_empty() {
            Some(Why::NeverPlaced)
        } else if is_terminating(pod) && out_of_service.contains(node) {
            Some(Why::NodeOutOfService)
        } else {
            None
        }
    };
    let mut judged: Vec<(Arc<Pod>, Why)> =
        pods.iter().filter_map(|pod| Some((pod.clone(), reason(pod)?))).collect();
    let mut ended: Vec<&Arc<Pod>> =
        pods.iter().filter(|pod| is_terminal(pod) && reason(pod).is_none()).collect();
    if threshold > 0 && ended.len() > threshold {
        let surplus = ended.len() - threshold;
        ended.sort_by_key(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, pod.metadata.name.clone())
        });
        judged.extend(ended.into_iter().take(surplus).map(|pod| (pod.clone(), Why::TooMany)));
    }
    judged
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    { conditions }.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn clear(objects: &Objects, pod: &Pod, why: Why, now: Timestamp) -> Result<(), Error> {
    let key = Key::of(&pod.metadata);
    info!(pod = %key, ?why, "clearing away");
    if let Some(ended) = ended(pod, why, now)
        && let Err(error) = objects.replace_status(&ended).await
    {
        return if is_not_found(&error) { Ok(()) } else { Err(error.into()) };
    }
    let same = Preconditions { uid: pod.uid(), resource_version: None };
    let how = DeleteParams::default().grace_period(0).preconditions(same);
    match objects.delete::<Pod>(&key, &how).await {
        Err(error) if !is_not_found(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// The pod as ended by its end, where it had not ended before: whoever waits for it must see that.
fn ended(pod: &Pod, why: Why, now: Timestamp) -> Option<Pod> {
    let message = match why {
        Why::NodeGone => "PodGC: node no longer exists",
        Why::NodeOutOfService => "PodGC: node out-of-service",
        Why::NeverPlaced | Why::TooMany => return None,
    };
    if is_terminal(pod) {
        return None;
    }
    let mut pod = pod.clone();
    let generation = pod.metadata.generation;
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Failed".into());
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("DeletionByPodGC".into()),
        message: Some(message.into()),
        last_transition_time: Some(Time(now)),
        observed_generation: generation,
        ..PodCondition::default()
    });
    Some(pod)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: Option<&str>, phase: &str, going: bool) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len()),
                "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z")},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn node(name: &str, taints: &Value) -> Arc<Node> {
        let node = json!({"metadata": {"name": name}, "spec": {"taints": taints}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    #[test]
    fn what_nobody_else_clears_away() {
        let dead = json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]);
        let nodes = [node("n1", &json!([])), node("dead", &dead)];
        let cases = [
            (pod("p", Some("n1"), "Running", false), None),
            (pod("p", Some("n1"), "Running", true), None),
            (pod("p", Some("gone"), "Running", false), Some(Why::NodeGone)),
            (pod("p", None, "Pending", false), None),
            (pod("p", None, "Pending", true), Some(Why::NeverPlaced)),
            (pod("p", Some("dead"), "Running", false), None),
            (pod("p", Some("dead"), "Running", true), Some(Why::NodeOutOfService)),
        ];
        let gone = ["gone".to_owned()].into();
        for (pod, expected) in cases {
            let found = judge(std::slice::from_ref(&pod), &nodes, &gone, 10);
            assert_eq!(found.first().map(|(_, why)| *why), expected, "{pod:?}");
        }
    }

    #[test]
    fn the_oldest_of_too_many_go() {
        let names = ["a", "bb", "ccc", "dddd"];
        let mut pods: Vec<_> =
            names.iter().map(|name| pod(name, Some("n1"), "Succeeded", false)).collect();
        pods.push(pod("running", Some("n1"), "Running", false));
        for (threshold, expected) in [(0, vec![]), (4, vec![]), (2, vec!["a", "bb"])] {
            let found = judge(&pods, &[], &HashSet::new(), threshold);
            let found: Vec<String> = found.into_iter().map(|(pod, _)| pod.name_any()).collect();
            assert_eq!(found, expected, "{threshold}");
        }
    }

    #[test]
    fn a_node_counts_as_gone_after_a_quarantine() {
        let pods = [pod("p", Some("n1"), "Running", false)];
        let mut missing = Missing::default();
        let start = Timestamp::UNIX_EPOCH;
        assert!(missing.update(&pods, &[], start).is_empty());
        assert!(missing.update(&pods, &[node("n1", &json!([]))], start + QUARANTINE).is_empty());
        assert!(missing.update(&pods, &[], start + QUARANTINE).is_empty(), "it was there between");
        assert_eq!(missing.update(&pods, &[], start + QUARANTINE * 2).len(), 1);
    }
}
