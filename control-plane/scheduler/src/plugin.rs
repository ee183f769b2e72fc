//! What a scheduling plugin is: pure functions over a pod and a cluster, at the framework's points.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The best score of a node; the worst is 0.
pub const MAX_SCORE: i64 = 100;

/// Why a plugin does not let a pod onto a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The plugin.
    pub plugin: &'static str,
    /// What to tell: one entry per thing that is missing.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether it could help if other pods went.
    pub resolvable: bool,
}

impl Rejection {
    /// A rejection that other pods' leaving might lift.
    pub fn resolvable(plugin: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true }
    }

    /// A rejection that no pod's leaving lifts.
    pub fn lasting(plugin: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false }
    }
}

/// A change that may make room for a pod that did not fit.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// A node came or changed; the earlier version without its pods.
    Node {
        /// As it is now.
        now: &'a NodeInfo,
        /// As it was.
        before: Option<&'a NodeInfo>,
    },
    /// A pod was put on a node, or its labels changed there.
    PodPlaced(&'a PodInfo),
    /// A pod left its node.
    PodGone(&'a PodInfo),
    /// Persistent volumes, claims or classes changed.
    Volumes,
    /// A namespace's labels changed.
    Namespace,
}

/// A plugin that keeps pods off nodes.
pub trait FilterPlugin: Send + Sync {
    /// Its name in messages and configuration.
    fn name(&self) -> &'static str;

    /// Looks at the pod and the whole cluster once, before nodes are asked one by one. `None` if
    /// the plugin has nothing to say about this pod.
    ///
    /// # Errors
    /// If no node will do.
    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection>;

    /// The only nodes that can do, if the plugin knows them without asking each.
    fn only(&self, _pod: &PodInfo) -> Option<BTreeSet<String>> {
        None
    }

    /// Whether a change may help a pod that this plugin rejected.
    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool;
}

/// A filter that is prepared for one pod; `'a` is how long pod and cluster are looked at.
pub trait NodeFilter<'a>: Send + Sync {
    /// Whether the pod may go to the node.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection>;

    /// Takes note that another pod comes to (`1`) or leaves (`-1`) a node, for trying out what if.
    fn update(&mut self, _other: &PodInfo, _node: &NodeInfo, _count: i64) {}

    /// A copy to try things out with.
    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a>;
}

/// A plugin that prefers some nodes over others.
pub trait ScorePlugin: Send + Sync {
    /// Its name in configuration.
    fn name(&self) -> &'static str;

    /// How much its scores count.
    fn weight(&self) -> i64;

    /// The scores of the nodes that will do, 0 to [`MAX_SCORE`], in the same order. `None` if the
    /// plugin does not care.
    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>>;
}

/// Stretches scores so that the largest becomes [`MAX_SCORE`]; turned around, if small is good.
pub(crate) fn normalize(mut scores: Vec<i64>, small_is_good: bool) -> Vec<i64> {
    let largest = scores.iter().copied().max().unwrap_or_default();
    for score in &mut scores {
        let share = if largest == 0 { 0 } else { MAX_SCORE * *score / largest };
        *score = if small_is_good { MAX_SCORE - share } else { share };
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_stretch_to_the_whole_range() {
        let cases = [
            (vec![0, 5, 10], false, vec![0, 50, 100]),
            (vec![0, 5, 10], true, vec![100, 50, 0]),
            (vec![0, 0], false, vec![0, 0]),
            (vec![0, 0], true, vec![100, 100]),
        ];
        for (scores, small_is_good, expected) in cases {
            assert_eq!(normalize(scores, small_is_good), expected);
        }
    }
}
