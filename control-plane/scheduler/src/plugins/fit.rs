//! NodeResourcesFit: a node has what the pods on it ask for; the one with most left is preferred.

use std::borrow::Cow;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, MAX_SCORE, NodeFilter, Rejection, ScorePlugin};
use crate::pod::PodInfo;

const NAME: &str = "NodeResourcesFit";

pub(super) struct NodeResourcesFit;

impl FilterPlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        _cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        Ok(Some(Box::new(Fits(pod))))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        match change {
            Change::Node { now, before } => {
                let grown = before.is_none_or(|before| {
                    before.allocatable != now.allocatable || before.allowed_pods != now.allowed_pods
                });
                grown && Fits(pod).check(now).is_ok()
            }
            Change::PodGone(_) => true,
            _ => false,
        }
    }
}

struct Fits<'a>(&'a PodInfo);

impl<'a> NodeFilter<'a> for Fits<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let mut shortage = Shortage { reasons: Vec::new(), resolvable: true };
        let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
        if pods >= node.allowed_pods {
            shortage.reasons.push("Too many pods".into());
        }
        let (asked, has, used) = (&self.0.requests, &node.allocatable, &node.requested);
        shortage.note("cpu", asked.cpu_milli, has.cpu_milli, used.cpu_milli);
        shortage.note("memory", asked.memory_bytes, has.memory_bytes, used.memory_bytes);
        shortage.note(
            "ephemeral-storage",
            asked.storage_bytes,
            has.storage_bytes,
            used.storage_bytes,
        );
        for (name, asked) in &asked.scalars {
            let amount = |of: &crate::resources::Resources| {
                of.scalars.get(name).copied().unwrap_or_default()
            };
            shortage.note(name, *asked, amount(has), amount(used));
        }
        shortage.verdict()
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(Fits(self.0))
    }
}

struct Shortage {
    reasons: Vec<Cow<'static, str>>,
    resolvable: bool,
}

impl Shortage {
    /// What a node does not have at all, no pod's leaving can give.
    fn note(&mut self, name: &str, asked: i64, has: i64, used: i64) {
        if asked > 0 && asked > has - used {
            self.reasons.push(format!("Insufficient {name}").into());
            self.resolvable &= asked <= has;
        }
    }

    fn verdict(self) -> Result<(), Rejection> {
        let Self { reasons, resolvable } = self;
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(Rejection { plugin: NAME, reasons, resolvable })
        }
    }
}

impl ScorePlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        1
    }

    /// The mean share of CPU and memory that stays free.
    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let free = |asked: i64, has: i64| match has {
            0 => None,
            has if asked > has => Some(0),
            has => Some((has - asked) * MAX_SCORE / has),
        };
        let score = |node: &&NodeInfo| {
            let shares = [
                free(node.scored.cpu_milli + pod.scored.cpu_milli, node.allocatable.cpu_milli),
                free(
                    node.scored.memory_bytes + pod.scored.memory_bytes,
                    node.allocatable.memory_bytes,
                ),
            ];
            let known = i64::try_from(shares.iter().flatten().count()).unwrap_or_default();
            if known == 0 { 0 } else { shares.iter().flatten().sum::<i64>() / known }
        };
        Some(nodes.iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resources;

    fn amounts(cpu_milli: i64, memory_bytes: i64) -> Resources {
        Resources { cpu_milli, memory_bytes, ..Resources::default() }
    }

    fn node(allocatable: Resources, requested: Resources, allowed_pods: i64) -> NodeInfo {
        NodeInfo {
            allocatable,
            scored: requested.clone(),
            requested,
            allowed_pods,
            ..NodeInfo::default()
        }
    }

    fn pod(requests: Resources) -> PodInfo {
        PodInfo { scored: requests.clone(), requests, ..PodInfo::default() }
    }

    #[test]
    fn every_shortage_is_named_and_only_lasting_ones_last() {
        let gpu = |count: i64| Resources {
            scalars: [("example.com/gpu".to_owned(), count)].into(),
            ..Resources::default()
        };
        let cases = [
            (amounts(100, 100), node(amounts(100, 100), amounts(0, 0), 1), vec![], true),
            (
                amounts(100, 100),
                node(amounts(100, 100), amounts(1, 1), 1),
                vec!["Insufficient cpu", "Insufficient memory"],
                true,
            ),
            (
                amounts(101, 0),
                node(amounts(100, 100), amounts(0, 0), 1),
                vec!["Insufficient cpu"],
                false,
            ),
            (
                amounts(0, 0),
                node(amounts(100, 100), amounts(100, 100), 0),
                vec!["Too many pods"],
                true,
            ),
            (amounts(0, 0), node(amounts(100, 100), amounts(200, 200), 1), vec![], true),
            (gpu(1), node(gpu(1), gpu(1), 1), vec!["Insufficient example.com/gpu"], true),
            (
                gpu(2),
                node(amounts(1, 1), amounts(0, 0), 1),
                vec!["Insufficient example.com/gpu"],
                false,
            ),
        ];
        for (asked, node, reasons, resolvable) in cases {
            let pod = pod(asked);
            let verdict = Fits(&pod).check(&node);
            let expected = if reasons.is_empty() {
                Ok(())
            } else {
                Err(Rejection {
                    plugin: NAME,
                    reasons: reasons.into_iter().map(Into::into).collect(),
                    resolvable,
                })
            };
            assert_eq!(verdict, expected);
        }
    }

    #[test]
    fn the_node_with_most_left_scores_best() {
        let nodes = [
            node(amounts(4000, 10_000), amounts(0, 0), 10),
            node(amounts(4000, 10_000), amounts(2000, 5000), 10),
            node(amounts(0, 0), amounts(0, 0), 10),
        ];
        let nodes: Vec<_> = nodes.iter().collect();
        let scores = NodeResourcesFit.score(&pod(amounts(1000, 1000)), &Cluster::default(), &nodes);
        assert_eq!(scores, Some(vec![82, 32, 0]));
    }
}
