//! NodeAffinity: node selector, required and preferred node affinity.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection, ScorePlugin, normalize};
use crate::pod::PodInfo;

const NAME: &str = "NodeAffinity";

pub(super) struct NodeAffinity;

impl FilterPlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        _cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        if pod.node_requirements.names().is_some_and(|names| names.is_empty()) {
            return Err(Rejection::lasting(NAME, "pod affinity terms conflict"));
        }
        Ok((!pod.node_requirements.is_empty()).then(|| Box::new(Matching(pod)) as _))
    }

    fn only(&self, pod: &PodInfo) -> Option<BTreeSet<String>> {
        pod.node_requirements.names()
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        matches!(change, Change::Node { now, .. } if pod.node_requirements.matches(&now.name, &now.labels))
    }
}

struct Matching<'a>(&'a PodInfo);

impl<'a> NodeFilter<'a> for Matching<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if self.0.node_requirements.matches(&node.name, &node.labels) {
            return Ok(());
        }
        Err(Rejection::lasting(NAME, "node(s) didn't match Pod's node affinity/selector"))
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(Matching(self.0))
    }
}

impl ScorePlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        if pod.node_preferences.is_empty() {
            return None;
        }
        let liked = |node: &&NodeInfo| {
            let terms = pod
                .node_preferences
                .iter()
                .filter(|(_, term)| term.matches(&node.name, &node.labels));
            terms.map(|(weight, _)| weight).sum()
        };
        Some(normalize(nodes.iter().map(liked).collect(), false))
    }
}
