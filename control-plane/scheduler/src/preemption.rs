//! Preemption: which less important pods would have to go, and where that is the least harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::budget::Budgets;
use crate::cluster::Cluster;
use crate::cycle::{Filters, Profile};
use crate::diagnosis::{Diagnosis, histogram};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// A node that would do without some of its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: String,
    /// Who would have to go, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// How many of them overdraw a disruption budget.
    pub overdrawn: usize,
}

impl Candidate {
    /// What the pod's event says about it.
    pub fn message(&self) -> String {
        format!(
            "found a potential placement for pod on node {}, preempting {} victims",
            self.node,
            self.victims.len()
        )
    }
}

/// Looks for pods whose leaving lets `pod` in.
///
/// # Errors
/// Why that does not help, in upstream's words; `keep` says whether the pod goes on waiting for
/// the node that is being made free for it.
pub fn preempt(
    profile: &Profile,
    pod: &PodInfo,
    cluster: &Cluster,
    diagnosis: &Diagnosis,
) -> Result<Candidate, Refusal> {
    if !pod.preempts {
        return Err(Refusal {
            message: "not eligible due to preemptionPolicy=Never.".into(),
            keep: true,
        });
    }
    if is_waiting(pod, cluster, diagnosis) {
        let message = "not eligible due to a terminating pod on the nominated node.".into();
        return Err(Refusal { message, keep: true });
    }
    let filters = Filters::prepare(profile, pod, cluster);
    let (mut candidates, mut reasons) = (Vec::new(), BTreeMap::new());
    for (name, rejection) in &diagnosis.rejected {
        let (Ok(filters), Some(node), true) = (&filters, cluster.node(name), rejection.resolvable)
        else {
            continue;
        };
        match victims(filters.copy(), pod, node, &cluster.budgets) {
            Ok((victims, overdrawn)) => {
                candidates.push(Candidate { node: name.clone(), victims, overdrawn });
            }
            Err(said) => {
                reasons.insert(name, said);
            }
        }
    }
    if let Some(best) = candidates.into_iter().min_by_key(harm) {
        return Ok(best);
    }
    let unhelpful = diagnosis.nodes - reasons.len();
    let counted = reasons.values().flatten().map(|reason| (reason.as_str(), 1));
    let counted = histogram(counted.chain((unhelpful > 0).then_some((NOT_HELPFUL, unhelpful))));
    let message = format!("0/{} nodes are available: {counted}.", diagnosis.nodes);
    Err(Refusal { message, keep: false })
}

/// Why nothing is preempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the pod's event.
    pub message: String,
    /// Whether the pod's nomination stays.
    pub keep: bool,
}

/// Whether pods on the node that is being made free for this one are still about to go.
fn is_waiting(pod: &PodInfo, cluster: &Cluster, diagnosis: &Diagnosis) -> bool {
    let Some(name) = &pod.nominated else { return false };
    let lasting = diagnosis.rejected.get(name).is_some_and(|rejection| !rejection.resolvable);
    let going = |other: &Arc<PodInfo>| other.terminating && other.priority < pod.priority;
    !lasting && cluster.node(name).is_some_and(|node| node.pods.iter().any(going))
}

/// The fewest and least important pods that have to go from a node, and how many of them overdraw
/// a budget; or what is said if even without all lesser pods the pod does not fit. Pods that would
/// overdraw a budget are spared first.
fn victims(
    mut filters: Filters<'_>,
    pod: &PodInfo,
    node: &NodeInfo,
    budgets: &Budgets,
) -> Result<(Vec<Arc<PodInfo>>, usize), Vec<String>> {
    let mut lesser: Vec<_> =
        node.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return Err(vec![NO_VICTIMS.to_owned()]);
    }
    let mut left = node.clone();
    for victim in &lesser {
        left.remove(&victim.uid);
        filters.update(victim, &left, -1);
    }
    filters.check(&left).map_err(|rejection| {
        rejection.reasons.iter().map(ToString::to_string).collect::<Vec<_>>()
    })?;
    lesser.sort_by_key(|pod| std::cmp::Reverse(importance(pod)));
    let (precious, free) = budgets.part(lesser);
    let mut victims = Vec::new();
    let mut spare = |candidates: Vec<Arc<PodInfo>>| {
        for candidate in candidates {
            left.add(candidate.clone());
            filters.update(&candidate, &left, 1);
            if filters.check(&left).is_err() {
                left.remove(&candidate.uid);
                filters.update(&candidate, &left, -1);
                victims.push(candidate);
            }
        }
        victims.len()
    };
    let overdrawn = spare(precious);
    spare(free);
    victims.sort_by_key(|pod| std::cmp::Reverse(importance(pod)));
    Ok((victims, overdrawn))
}

/// The more important pod is the larger: by priority, then by how long it has run.
fn importance(pod: &PodInfo) -> (i32, std::cmp::Reverse<Option<jiff::Timestamp>>) {
    (pod.priority, std::cmp::Reverse(Some(pod.started.unwrap_or(jiff::Timestamp::MAX))))
}

/// The less harm the better: budgets overdrawn, the most important victim, the sum of priorities, the number, and
/// last how long the most important ones have run (the shorter the better).
fn harm(
    candidate: &Candidate,
) -> (usize, i32, i64, usize, std::cmp::Reverse<Option<jiff::Timestamp>>) {
    let highest = candidate.victims.first().map_or(i32::MIN, |victim| victim.priority);
    let shifted = |victim: &Arc<PodInfo>| i64::from(victim.priority) + i64::from(i32::MAX) + 1;
    let longest = candidate
        .victims
        .iter()
        .filter(|victim| victim.priority == highest)
        .filter_map(|v| v.started)
        .min();
    let sum = candidate.victims.iter().map(shifted).sum();
    (candidate.overdrawn, highest, sum, candidate.victims.len(), std::cmp::Reverse(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cycle::{Chance, schedule};
    use crate::resources::Resources;

    fn pod(uid: &str, priority: i32, cpu_milli: i64) -> PodInfo {
        let requests = Resources { cpu_milli, ..Resources::default() };
        PodInfo {
            uid: uid.into(),
            name: uid.into(),
            priority,
            preempts: true,
            requests,
            ..PodInfo::default()
        }
    }

    /// Name, CPU, and pods with priority and CPU.
    type Nodes = &'static [(&'static str, i64, &'static [(&'static str, i32, i64)])];

    fn cluster(nodes: Nodes) -> Cluster {
        let mut cluster = Cluster::default();
        for (name, cpu_milli, pods) in nodes {
            let allocatable = Resources { cpu_milli: *cpu_milli, ..Resources::default() };
            cluster.set_node(NodeInfo {
                name: (*name).into(),
                allocatable,
                allowed_pods: 10,
                ..NodeInfo::default()
            });
            for (uid, priority, cpu) in *pods {
                cluster.assume(Arc::new(pod(uid, *priority, *cpu)), name);
            }
        }
        cluster
    }

    fn run(pod: &PodInfo, cluster: &Cluster) -> Result<(String, Vec<String>), Refusal> {
        let profile = Profile::default();
        let diagnosis = schedule(&profile, pod, cluster, Chance::default()).unwrap_err();
        let found = preempt(&profile, pod, cluster, &diagnosis)?;
        Ok((found.node, found.victims.iter().map(|victim| victim.uid.clone()).collect()))
    }

    fn refused(message: &str, keep: bool) -> Result<(String, Vec<String>), Refusal> {
        Err(Refusal { message: message.into(), keep })
    }

    fn chosen(node: &str, victims: &[&str]) -> Result<(String, Vec<String>), Refusal> {
        Ok((node.into(), victims.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn the_least_harm_is_chosen() {
        let cases: [(&str, Nodes, Result<_, _>); 6] = [
            (
                "only as many as needed",
                &[("n1", 1000, &[("a", 1, 400), ("b", 2, 400)])],
                chosen("n1", &["a"]),
            ),
            (
                "the less important node",
                &[("n1", 1000, &[("a", 5, 900)]), ("n2", 1000, &[("b", 1, 900)])],
                chosen("n2", &["b"]),
            ),
            (
                "fewer victims",
                &[("n1", 1000, &[("a", 1, 450), ("b", 1, 450)]), ("n2", 1000, &[("c", 1, 900)])],
                chosen("n1", &["b"]),
            ),
            (
                "nobody less important",
                &[("n1", 1000, &[("a", 10, 900)])],
                refused(
                    "0/1 nodes are available: 1 No preemption victims found for incoming pod.",
                    false,
                ),
            ),
            (
                "not even an empty node",
                &[("n1", 100, &[("a", 1, 50)])],
                refused(
                    "0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
                    false,
                ),
            ),
            (
                "what stays is still too much",
                &[("n1", 1000, &[("a", 10, 900), ("b", 1, 100)])],
                refused("0/1 nodes are available: 1 Insufficient cpu.", false),
            ),
        ];
        for (what, nodes, expected) in cases {
            assert_eq!(run(&pod("new", 10, 500), &cluster(nodes)), expected, "{what}");
        }
    }

    #[test]
    fn a_budget_is_spared_where_possible() {
        let mut cluster =
            cluster(&[("n1", 1000, &[("a", 1, 900)]), ("n2", 1000, &[("b", 5, 900)])]);
        let mut precious = pod("a", 1, 900);
        precious.labels.insert("app".into(), "db".into());
        cluster.assume(Arc::new(precious), "n1");
        let new = pod("new", 10, 500);
        assert_eq!(run(&new, &cluster), chosen("n1", &["a"]));
        let budget = serde_json::json!({"spec": {"selector": {"matchLabels": {"app": "db"}}}});
        let budget = crate::budget::Budget::new(&serde_json::from_value(budget).unwrap());
        cluster.budgets.set(String::new(), "db".into(), Some(budget));
        assert_eq!(run(&new, &cluster), chosen("n2", &["b"]));
    }

    #[test]
    fn who_may_not_or_has_already_preempted_waits() {
        let cluster_full = cluster(&[("n1", 1000, &[("a", 1, 900)])]);
        let mut polite = pod("new", 10, 500);
        polite.preempts = false;
        assert_eq!(
            run(&polite, &cluster_full),
            refused("not eligible due to preemptionPolicy=Never.", true)
        );

        let mut leaving = pod("a", 1, 900);
        leaving.terminating = true;
        let mut cluster = cluster(&[("n1", 1000, &[])]);
        cluster.assume(Arc::new(leaving), "n1");
        let mut waiting = pod("new", 10, 500);
        waiting.nominated = Some("n1".into());
        assert_eq!(
            run(&waiting, &cluster),
            refused("not eligible due to a terminating pod on the nominated node.", true)
        );
    }
}
