//! InterPodAffinity: pods that want to be near others, or far from them.

use std::collections::HashMap;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, MAX_SCORE, NodeFilter, Rejection, ScorePlugin};
use crate::pod::{AffinityTerm, PodInfo};
use crate::selector::Labels;

const NAME: &str = "InterPodAffinity";
const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// How much it counts that a pod is required by one that is there to be near it.
const HARD_WEIGHT: i64 = 1;

pub(super) struct InterPodAffinity;

/// A domain: label key and value.
type Domain = (String, String);

/// How often a domain counts.
#[derive(Clone, Default)]
struct Counts(HashMap<Domain, i64>);

impl Counts {
    fn add(&mut self, node: &NodeInfo, key: &str, count: i64) {
        let Some(value) = node.domain(key) else { return };
        let domain = (key.to_owned(), value.to_owned());
        let total = self.0.entry(domain.clone()).or_default();
        *total += count;
        if *total == 0 {
            self.0.remove(&domain);
        }
    }

    fn get(&self, node: &NodeInfo, key: &str) -> i64 {
        let Some(value) = node.domain(key) else { return 0 };
        self.0.get(&(key.to_owned(), value.to_owned())).copied().unwrap_or_default()
    }
}

/// Whether a pod matches all terms; no terms match nothing.
fn matches_all(terms: &[AffinityTerm], pod: &PodInfo, namespace: &Labels) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, namespace))
}

impl FilterPlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        let mut affinity = Affinity {
            pod,
            cluster,
            near: Counts::default(),
            far: Counts::default(),
            existing: Counts::default(),
        };
        for node in cluster.nodes() {
            for other in &node.pods {
                affinity.update(other, node, 1);
            }
        }
        let terms = &pod.affinity;
        let silent = terms.required.is_empty()
            && terms.required_anti.is_empty()
            && affinity.existing.0.is_empty();
        Ok((!silent).then(|| Box::new(affinity) as _))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        match change {
            Change::Node { .. } | Change::PodGone(_) | Change::Namespace => true,
            Change::PodPlaced(_) => !pod.affinity.required.is_empty(),
            Change::Volumes => false,
        }
    }
}

#[derive(Clone)]
struct Affinity<'a> {
    pod: &'a PodInfo,
    cluster: &'a Cluster,
    /// Domains with pods that match all required terms.
    near: Counts,
    /// Domains with pods that match a required anti-affinity term.
    far: Counts,
    /// Domains that pods there do not want to share with this one.
    existing: Counts,
}

impl Affinity<'_> {
    /// Near all that it must be near; the first of a group that wants to be near itself may begin
    /// anywhere.
    fn is_near(&self, node: &NodeInfo) -> bool {
        let terms = &self.pod.affinity.required;
        if !terms.iter().all(|term| node.labels.contains_key(&term.topology_key)) {
            return false;
        }
        if terms.iter().all(|term| self.near.get(node, &term.topology_key) > 0) {
            return true;
        }
        let own = self.cluster.namespace(&self.pod.namespace);
        self.near.0.is_empty() && matches_all(terms, self.pod, own)
    }
}

impl<'a> NodeFilter<'a> for Affinity<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if !self.is_near(node) {
            return Err(Rejection::lasting(NAME, AFFINITY));
        }
        if self
            .pod
            .affinity
            .required_anti
            .iter()
            .any(|term| self.far.get(node, &term.topology_key) > 0)
        {
            return Err(Rejection::resolvable(NAME, ANTI_AFFINITY));
        }
        let unwanted = |(key, value): &Domain| node.domain(key) == Some(value.as_str());
        if self.existing.0.keys().any(unwanted) {
            return Err(Rejection::resolvable(NAME, EXISTING));
        }
        Ok(())
    }

    fn update(&mut self, other: &PodInfo, node: &NodeInfo, count: i64) {
        let own = &self.pod.affinity;
        if own.required.is_empty()
            && own.required_anti.is_empty()
            && other.affinity.required_anti.is_empty()
        {
            return;
        }
        let theirs = self.cluster.namespace(&other.namespace);
        if matches_all(&self.pod.affinity.required, other, theirs) {
            for term in &self.pod.affinity.required {
                self.near.add(node, &term.topology_key, count);
            }
        }
        for term in
            self.pod.affinity.required_anti.iter().filter(|term| term.matches(other, theirs))
        {
            self.far.add(node, &term.topology_key, count);
        }
        if other.affinity.required_anti.is_empty() {
            return;
        }
        let ours = self.cluster.namespace(&self.pod.namespace);
        for term in other.affinity.required_anti.iter().filter(|term| term.matches(self.pod, ours))
        {
            self.existing.add(node, &term.topology_key, count);
        }
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(self.clone())
    }
}

impl ScorePlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let mut counts = Counts::default();
        for node in cluster.nodes() {
            for other in &node.pods {
                prefer(&mut counts, pod, other, node, cluster);
            }
        }
        if counts.0.is_empty() {
            return None;
        }
        let liked = |node: &&NodeInfo| -> i64 {
            let here = counts
                .0
                .iter()
                .filter(|((key, value), _)| node.domain(key) == Some(value.as_str()));
            here.map(|(_, weight)| weight).sum()
        };
        let scores: Vec<_> = nodes.iter().map(liked).collect();
        let (least, most) = (scores.iter().min().copied()?, scores.iter().max().copied()?);
        let stretch = |score: i64| {
            if most == least { 0 } else { MAX_SCORE * (score - least) / (most - least) }
        };
        Some(scores.into_iter().map(stretch).collect())
    }
}

/// What a pod on a node and the new pod think of being near each other.
fn prefer(counts: &mut Counts, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, cluster: &Cluster) {
    if pod.affinity.preferred.is_empty() && other.affinity.is_empty() {
        return;
    }
    let theirs = cluster.namespace(&other.namespace);
    for (weight, term) in
        pod.affinity.preferred.iter().filter(|(_, term)| term.matches(other, theirs))
    {
        counts.add(node, &term.topology_key, *weight);
    }
    let ours = cluster.namespace(&pod.namespace);
    for term in other.affinity.required.iter().filter(|term| term.matches(pod, ours)) {
        counts.add(node, &term.topology_key, HARD_WEIGHT);
    }
    for (weight, term) in
        other.affinity.preferred.iter().filter(|(_, term)| term.matches(pod, ours))
    {
        counts.add(node, &term.topology_key, *weight);
    }
}

#[cfg(test)]
mod tests;
