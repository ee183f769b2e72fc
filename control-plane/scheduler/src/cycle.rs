//! One scheduling cycle: a pod and a cluster in, a node or the reasons out.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::diagnosis::Diagnosis;
use crate::node::NodeInfo;
use crate::plugin::{FilterPlugin, NodeFilter, Rejection, ScorePlugin};
use crate::pod::PodInfo;

/// Up to this many nodes all are asked.
const FEW_NODES: usize = 100;

/// The plugins of a scheduler.
pub struct Profile {
    /// What keeps pods off nodes, in the order of asking.
    pub filters: Vec<Box<dyn FilterPlugin>>,
    /// What prefers nodes.
    pub scorers: Vec<Box<dyn ScorePlugin>>,
}

impl Default for Profile {
    fn default() -> Self {
        Self { filters: crate::plugins::filters(), scorers: crate::plugins::scorers() }
    }
}

impl Profile {
    /// Whether a change may help a pod that these plugins rejected.
    pub fn may_help(
        &self,
        plugins: &BTreeSet<&str>,
        pod: &PodInfo,
        change: &crate::plugin::Change<'_>,
    ) -> bool {
        let heard = self.filters.iter().filter(|plugin| plugins.contains(plugin.name()));
        heard.into_iter().any(|plugin| plugin.helped_by(pod, change))
    }
}

/// What varies from cycle to cycle without being part of the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance {
    /// Where asking begins, so that all nodes have their turn when not all are asked.
    pub start: usize,
    /// Which of several best nodes is taken.
    pub pick: usize,
}

/// The filters of a profile, prepared for one pod.
pub struct Filters<'a> {
    pod: &'a PodInfo,
    cluster: &'a Cluster,
    prepared: Vec<Box<dyn NodeFilter<'a> + 'a>>,
}

impl<'a> Filters<'a> {
    /// Prepares all filters.
    ///
    /// # Errors
    /// If one of them rules out every node.
    pub fn prepare(
        profile: &Profile,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Self, Rejection> {
        let mut prepared = Vec::with_capacity(profile.filters.len());
        for plugin in &profile.filters {
            prepared.extend(plugin.prepare(pod, cluster)?);
        }
        Ok(Self { pod, cluster, prepared })
    }

    /// A copy to try things out with.
    pub fn copy(&self) -> Self {
        let prepared = self.prepared.iter().map(|filter| filter.copy()).collect();
        Self { pod: self.pod, cluster: self.cluster, prepared }
    }

    /// Takes note that another pod comes to (`1`) or leaves (`-1`) a node.
    pub fn update(&mut self, other: &PodInfo, node: &NodeInfo, count: i64) {
        for filter in &mut self.prepared {
            filter.update(other, node, count);
        }
    }

    fn check_as_is(&self, node: &NodeInfo) -> Result<(), Rejection> {
        self.prepared.iter().try_for_each(|filter| filter.check(node))
    }

    /// Whether the pod may go to a node, both as the node is and with the pods it is being made
    /// free for, as far as they matter no less.
    ///
    /// # Errors
    /// The first objection.
    pub fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let matters = |other: &&std::sync::Arc<PodInfo>| {
            other.uid != self.pod.uid && other.priority >= self.pod.priority
        };
        let mut expected = self.cluster.nominated(&node.name).iter().filter(matters).peekable();
        if expected.peek().is_some() {
            let (mut filters, mut crowded) = (self.copy(), node.clone());
            for other in expected {
                filters.update(other, &crowded, 1);
                crowded.add(other.clone());
            }
            filters.check_as_is(&crowded)?;
        }
        self.check_as_is(node)
    }
}

/// Chooses a node for a pod.
///
/// # Errors
/// Why there is none.
pub fn schedule(
    profile: &Profile,
    pod: &PodInfo,
    cluster: &Cluster,
    chance: Chance,
) -> Result<String, Box<Diagnosis>> {
    let mut diagnosis =
        Box::new(Diagnosis { nodes: cluster.nodes().len(), ..Diagnosis::default() });
    if diagnosis.nodes == 0 {
        return Err(diagnosis);
    }
    let filters = match Filters::prepare(profile, pod, cluster) {
        Ok(filters) => filters,
        Err(rejection) => {
            diagnosis.everywhere = Some(rejection);
            return Err(diagnosis);
        }
    };
    let nominated = pod.nominated.as_deref().and_then(|name| cluster.node(name));
    if let Some(node) = nominated.filter(|node| filters.check(node).is_ok()) {
        return Ok(node.name.clone());
    }
    let candidates = candidates(profile, pod, cluster, &mut diagnosis, chance.start);
    let enough = enough_nodes(cluster.nodes().len());
    let mut feasible = Vec::new();
    for node in candidates {
        match filters.check(node) {
            Ok(()) => feasible.push(node),
            Err(rejection) => {
                diagnosis.rejected.insert(node.name.clone(), rejection);
            }
        }
        if feasible.len() >= enough {
            break;
        }
    }
    match feasible.as_slice() {
        [] => Err(diagnosis),
        [only] => Ok(only.name.clone()),
        _ => Ok(best(profile, pod, cluster, &feasible, chance.pick).name.clone()),
    }
}

/// The nodes worth asking, beginning at `start`.
fn candidates<'a>(
    profile: &Profile,
    pod: &PodInfo,
    cluster: &'a Cluster,
    diagnosis: &mut Diagnosis,
    start: usize,
) -> Vec<&'a NodeInfo> {
    let mut only: Option<BTreeSet<String>> = None;
    for plugin in &profile.filters {
        if let Some(names) = plugin.only(pod) {
            diagnosis.limited_by.insert(plugin.name());
            only = Some(match only {
                Some(earlier) => earlier.intersection(&names).cloned().collect(),
                None => names,
            });
        }
    }
    match only {
        Some(names) => names.iter().filter_map(|name| cluster.node(name)).collect(),
        None => {
            let nodes = cluster.nodes();
            let (head, tail) = nodes.split_at(start % nodes.len());
            tail.iter().chain(head).collect()
        }
    }
}

/// How many nodes that will do are enough: all of a small cluster, a share of a large one that
/// falls from a half to a twentieth.
fn enough_nodes(nodes: usize) -> usize {
    let share = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * share / 100).max(FEW_NODES)
}

fn best<'a>(
    profile: &Profile,
    pod: &PodInfo,
    cluster: &Cluster,
    nodes: &[&'a NodeInfo],
    pick: usize,
) -> &'a NodeInfo {
    let mut totals = vec![0_i64; nodes.len()];
    for plugin in &profile.scorers {
        let scores = plugin.score(pod, cluster, nodes).unwrap_or_default();
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    let most = totals.iter().copied().max().unwrap_or_default();
    let winners: Vec<_> = nodes.iter().zip(&totals).filter(|(_, total)| **total == most).collect();
    winners[pick % winners.len()].0
}

#[cfg(test)]
mod tests;
