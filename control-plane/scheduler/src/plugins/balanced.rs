//! NodeResourcesBalancedAllocation: prefers nodes whose CPU and memory fill up evenly.

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{MAX_SCORE, ScorePlugin};
use crate::pod::PodInfo;

pub(super) struct NodeResourcesBalancedAllocation;

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    /// How much evener the node is with the pod than without: 75 for no difference. Pods that ask
    /// for nothing are left to others, or all of them would go to one node.
    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let asked = [pod.requests.cpu_milli, pod.requests.memory_bytes];
        if asked == [0, 0] {
            return None;
        }
        let score = |node: &&NodeInfo| {
            let has = [node.allocatable.cpu_milli, node.allocatable.memory_bytes];
            let used = [node.requested.cpu_milli, node.requested.memory_bytes];
            let with = [used[0] + asked[0], used[1] + asked[1]];
            MAX_SCORE / 2 + (MAX_SCORE / 2 + evenness(with, has) - evenness(used, has)) / 2
        };
        Some(nodes.iter().map(score).collect())
    }
}

/// [`MAX_SCORE`] less the standard deviation of the shares in use.
fn evenness(used: [i64; 2], has: [i64; 2]) -> i64 {
    let share = |used: i64, has: i64| (used as f64 / has as f64).min(1.0);
    let deviation = match has {
        [0, _] | [_, 0] => 0.0,
        _ => ((share(used[0], has[0]) - share(used[1], has[1])) / 2.0).abs(),
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resources;

    fn amounts(cpu_milli: i64, memory_bytes: i64) -> Resources {
        Resources { cpu_milli, memory_bytes, ..Resources::default() }
    }

    #[test]
    fn what_evens_out_scores_above_what_skews() {
        let node = |cpu: i64, memory: i64| NodeInfo {
            allocatable: amounts(1000, 1000),
            requested: amounts(cpu, memory),
            ..NodeInfo::default()
        };
        let pod = PodInfo { requests: amounts(200, 0), ..PodInfo::default() };
        let nodes = [node(0, 200), node(0, 0), node(200, 0)];
        let nodes: Vec<_> = nodes.iter().collect();
        let scores = NodeResourcesBalancedAllocation.score(&pod, &Cluster::default(), &nodes);
        assert_eq!(scores, Some(vec![80, 70, 70]));
        let nothing =
            NodeResourcesBalancedAllocation.score(&PodInfo::default(), &Cluster::default(), &nodes);
        assert_eq!(nothing, None);
    }
}
