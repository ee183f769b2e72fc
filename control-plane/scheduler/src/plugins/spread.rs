//! PodTopologySpread: pods of a kind are spread over zones, nodes or whatever a label tells apart.

use std::collections::{BTreeSet, HashMap};

use super::taints::is_kept_off;
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, MAX_SCORE, NodeFilter, Rejection, ScorePlugin};
use crate::pod::{PodInfo, SpreadConstraint};

const NAME: &str = "PodTopologySpread";
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const MISMATCH: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

pub(super) struct PodTopologySpread;

/// How many pods of a node a constraint counts.
fn count(constraint: &SpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> i64 {
    if constraint.selector.is_empty() {
        return 0;
    }
    let counts = |other: &&std::sync::Arc<PodInfo>| {
        !other.terminating
            && other.namespace == pod.namespace
            && constraint.selector.matches(&other.labels)
    };
    i64::try_from(node.pods.iter().filter(counts).count()).unwrap_or(i64::MAX)
}

/// Whether a node's pods are counted at all.
fn is_included(constraint: &SpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> bool {
    (!constraint.honor_affinity || pod.node_requirements.matches(&node.name, &node.labels))
        && (!constraint.honor_taints || !is_kept_off(pod, node))
}

fn has_all_labels(constraints: &[SpreadConstraint], node: &NodeInfo) -> bool {
    constraints.iter().all(|constraint| node.labels.contains_key(&constraint.topology_key))
}

impl FilterPlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        let constraints: Vec<_> = pod.spread.iter().filter(|c| c.required).cloned().collect();
        if constraints.is_empty() {
            return Ok(None);
        }
        let mut domains = vec![HashMap::new(); constraints.len()];
        for node in cluster.nodes().iter().filter(|node| has_all_labels(&constraints, node)) {
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                if let (true, Some(domain)) =
                    (is_included(constraint, pod, node), node.domain(&constraint.topology_key))
                {
                    *domains.entry(domain.to_owned()).or_insert(0) += count(constraint, pod, node);
                }
            }
        }
        Ok(Some(Box::new(Spread { pod, constraints, domains })))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        match change {
            Change::Node { now, .. } => has_all_labels(&pod.spread, now),
            Change::PodPlaced(other) | Change::PodGone(other) => {
                other.namespace == pod.namespace
                    && pod.spread.iter().any(|c| c.selector.matches(&other.labels))
            }
            _ => false,
        }
    }
}

#[derive(Clone)]
struct Spread<'a> {
    pod: &'a PodInfo,
    constraints: Vec<SpreadConstraint>,
    /// For each constraint the pods counted in each domain.
    domains: Vec<HashMap<String, i64>>,
}

impl<'a> NodeFilter<'a> for Spread<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for (constraint, domains) in self.constraints.iter().zip(&self.domains) {
            let Some(domain) = node.domain(&constraint.topology_key) else {
                return Err(Rejection::lasting(NAME, NO_LABEL));
            };
            let enough = i64::try_from(domains.len()).unwrap_or(i64::MAX)
                >= i64::from(constraint.min_domains);
            let least =
                if enough { domains.values().copied().min().unwrap_or_default() } else { 0 };
            let own = i64::from(constraint.selector.matches(&self.pod.labels));
            let there = domains.get(domain).copied().unwrap_or_default();
            if there + own - least > i64::from(constraint.max_skew) {
                return Err(Rejection::resolvable(NAME, MISMATCH));
            }
        }
        Ok(())
    }

    fn update(&mut self, other: &PodInfo, node: &NodeInfo, count: i64) {
        if other.namespace != self.pod.namespace || !has_all_labels(&self.constraints, node) {
            return;
        }
        for (constraint, domains) in self.constraints.iter().zip(&mut self.domains) {
            if !constraint.selector.matches(&other.labels)
                || !is_included(constraint, self.pod, node)
            {
                continue;
            }
            if let Some(domain) = node.domain(&constraint.topology_key) {
                *domains.entry(domain.to_owned()).or_insert(0) += count;
            }
        }
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(self.clone())
    }
}

/// What a pod without constraints of its own prefers: its like spread over nodes and zones.
fn defaults(pod: &PodInfo, cluster: &Cluster) -> Vec<SpreadConstraint> {
    let selector = cluster.alike(pod);
    if selector.is_empty() {
        return Vec::new();
    }
    let constraint = |(key, max_skew): (&str, i32)| SpreadConstraint {
        max_skew,
        topology_key: key.to_owned(),
        required: false,
        selector: selector.clone(),
        min_domains: 1,
        honor_affinity: true,
        honor_taints: false,
    };
    [(HOSTNAME, 3), (ZONE, 5)].map(constraint).to_vec()
}

impl ScorePlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let own = !pod.spread.is_empty();
        let constraints: Vec<_> = if own {
            pod.spread.iter().filter(|c| !c.required).cloned().collect()
        } else {
            defaults(pod, cluster)
        };
        if constraints.is_empty() {
            return None;
        }
        let scoring = Scoring::new(pod, cluster, nodes, &constraints, own);
        Some(stretch(nodes.iter().map(|node| scoring.crowd(node)).collect()))
    }
}

/// The pods already in each domain, for the preferred constraints.
struct Scoring<'a> {
    pod: &'a PodInfo,
    constraints: &'a [SpreadConstraint],
    /// Nodes that lack a label and so take no part.
    ignored: BTreeSet<&'a str>,
    domains: Vec<HashMap<&'a str, i64>>,
    /// How much a constraint's count weighs: more, if there are more domains.
    weights: Vec<f64>,
}

impl<'a> Scoring<'a> {
    fn new(
        pod: &'a PodInfo,
        cluster: &'a Cluster,
        nodes: &[&'a NodeInfo],
        constraints: &'a [SpreadConstraint],
        all_labels: bool,
    ) -> Self {
        let lacks = |node: &NodeInfo| all_labels && !has_all_labels(constraints, node);
        let ignored: BTreeSet<_> =
            nodes.iter().filter(|node| lacks(node)).map(|node| node.name.as_str()).collect();
        let mut domains = vec![HashMap::new(); constraints.len()];
        for node in nodes.iter().filter(|node| !ignored.contains(node.name.as_str())) {
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                if constraint.topology_key != HOSTNAME {
                    domains.insert(node.domain(&constraint.topology_key).unwrap_or_default(), 0);
                }
            }
        }
        for node in cluster.nodes().iter().filter(|node| !lacks(node)) {
            for (constraint, domains) in constraints.iter().zip(&mut domains) {
                let domain = node.domain(&constraint.topology_key).unwrap_or_default();
                if let (Some(total), true) =
                    (domains.get_mut(domain), is_included(constraint, pod, node))
                {
                    *total += count(constraint, pod, node);
                }
            }
        }
        let size = |constraint: &SpreadConstraint, domains: &HashMap<&str, i64>| match constraint
            .topology_key
            .as_str()
        {
            HOSTNAME => nodes.len() - ignored.len(),
            _ => domains.len(),
        };
        let weights =
            constraints.iter().zip(&domains).map(|(c, d)| ((size(c, d) + 2) as f64).ln()).collect();
        Self { pod, constraints, ignored, domains, weights }
    }

    /// How crowded the node's domains are; `None` for a node that takes no part.
    fn crowd(&self, node: &NodeInfo) -> Option<i64> {
        if self.ignored.contains(node.name.as_str()) {
            return None;
        }
        let mut crowd = 0.0;
        for ((constraint, domains), weight) in
            self.constraints.iter().zip(&self.domains).zip(&self.weights)
        {
            let Some(domain) = node.domain(&constraint.topology_key) else { continue };
            let there = match constraint.topology_key.as_str() {
                HOSTNAME => count(constraint, self.pod, node),
                _ => domains.get(domain).copied().unwrap_or_default(),
            };
            crowd += there as f64 * weight + f64::from(constraint.max_skew - 1);
        }
        Some(crowd.round() as i64)
    }
}

/// The least crowded node gets the best score; nodes that take no part get none.
fn stretch(crowds: Vec<Option<i64>>) -> Vec<i64> {
    let most = crowds.iter().flatten().copied().max().unwrap_or_default();
    let least = crowds.iter().flatten().copied().min().unwrap_or_default();
    let score = |crowd: Option<i64>| match crowd {
        None => 0,
        Some(_) if most == 0 => MAX_SCORE,
        Some(crowd) => MAX_SCORE * (most + least - crowd) / most,
    };
    crowds.into_iter().map(score).collect()
}

#[cfg(test)]
mod tests;
