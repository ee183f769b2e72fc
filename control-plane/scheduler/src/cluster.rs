//! What scheduling knows of the cluster: nodes, the pods on them, and a few other objects.
//!
//! One owner changes it between two scheduling cycles; a cycle only reads, so it works on a
//! consistent snapshot without copying one. A pod that was given a node but is not bound yet is
//! *assumed*: it counts like any other until it is confirmed or forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::budget::Budgets;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::selector::{Labels, Selector};
use crate::volumes::Volumes;

/// A kind of object that selects the pods it stands for, and so tells which pods are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKind {
    /// v1 Service.
    Service,
    /// v1 ReplicationController.
    ReplicationController,
    /// apps/v1 ReplicaSet.
    ReplicaSet,
    /// apps/v1 StatefulSet.
    StatefulSet,
}

impl OwnerKind {
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        Some(match (api_version.split('/').next()?, kind) {
            ("v1", "ReplicationController") => Self::ReplicationController,
            ("apps", "ReplicaSet") => Self::ReplicaSet,
            ("apps", "StatefulSet") => Self::StatefulSet,
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Placed {
    node: String,
    assumed: bool,
}

/// The cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    index: HashMap<String, usize>,
    placed: HashMap<String, Placed>,
    /// Pods on nodes that are not known (yet, or any more).
    strays: HashMap<String, Vec<Arc<PodInfo>>>,
    nominated: HashMap<String, Vec<Arc<PodInfo>>>,
    image_nodes: HashMap<String, usize>,
    namespaces: HashMap<String, Labels>,
    owners: BTreeMap<(String, OwnerKind, String), Selector>,
    /// Persistent volumes and claims.
    pub volumes: Volumes,
    /// Disruption budgets.
    pub budgets: Budgets,
}

impl Cluster {
    /// All nodes.
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|index| &self.nodes[*index])
    }

    /// Takes a node as it is now; the earlier version, without its pods, if there was one.
    pub fn set_node(&mut self, mut node: NodeInfo) -> Option<NodeInfo> {
        let Some(index) = self.index.get(&node.name).copied() else {
            for pod in self.strays.remove(&node.name).into_iter().flatten() {
                node.add(pod);
            }
            self.count_images(&node, true);
            self.index.insert(node.name.clone(), self.nodes.len());
            self.nodes.push(node);
            return None;
        };
        let mut earlier = std::mem::take(&mut self.nodes[index]);
        self.count_images(&earlier, false);
        self.count_images(&node, true);
        node.adopt(&mut earlier);
        self.nodes[index] = node;
        Some(earlier)
    }

    /// Forgets a node. Its pods are kept until they are removed themselves.
    pub fn remove_node(&mut self, name: &str) {
        let Some(index) = self.index.remove(name) else { return };
        let node = self.nodes.swap_remove(index);
        if let Some(moved) = self.nodes.get(index) {
            self.index.insert(moved.name.clone(), index);
        }
        self.count_images(&node, false);
        if !node.pods.is_empty() {
            self.strays.insert(name.to_owned(), node.pods);
        }
    }

    fn count_images(&mut self, node: &NodeInfo, present: bool) {
        for name in node.images.keys() {
            let count = self.image_nodes.entry(name.clone()).or_default();
            *count = if present { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.image_nodes.remove(name);
            }
        }
    }

    /// How many nodes have an image.
    pub fn nodes_with_image(&self, name: &str) -> usize {
        self.image_nodes.get(name).copied().unwrap_or_default()
    }

    /// Counts a pod on a node before the API server knows.
    pub fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node.to_owned(), true);
    }

    /// Takes a pod back that was assumed and could not be bound; `None` if it is not assumed any
    /// more.
    pub fn forget(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        if self.is_assumed(uid) { self.remove_pod(uid) } else { None }
    }

    /// Whether a pod is assumed to be somewhere.
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.placed.get(uid).is_some_and(|placed| placed.assumed)
    }

    /// Takes a pod that is bound to its node, as it is now; the pod as it was counted there, if it
    /// was.
    pub fn set_pod(&mut self, pod: Arc<PodInfo>) -> Option<Arc<PodInfo>> {
        let node = pod.node.clone()?;
        let known = self.placed.get(&pod.uid).is_some_and(|placed| placed.node == node);
        self.place(pod, node, false).filter(|_| known)
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: String, assumed: bool) -> Option<Arc<PodInfo>> {
        let earlier = self.remove_pod(&pod.uid);
        self.clear_nomination(&pod.uid);
        self.placed.insert(pod.uid.clone(), Placed { node: node.clone(), assumed });
        match self.index.get(&node) {
            Some(index) => self.nodes[*index].add(pod),
            None => self.strays.entry(node).or_default().push(pod),
        }
        earlier
    }

    /// Forgets a pod; as it was, if it was on a node.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let placed = self.placed.remove(uid)?;
        if let Some(index) = self.index.get(&placed.node) {
            return self.nodes[*index].remove(uid);
        }
        let strays = self.strays.get_mut(&placed.node)?;
        let index = strays.iter().position(|pod| pod.uid == uid)?;
        let pod = strays.swap_remove(index);
        if strays.is_empty() {
            self.strays.remove(&placed.node);
        }
        Some(pod)
    }

    /// Remembers that a node is being made free for a pod.
    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.clear_nomination(&pod.uid);
        self.nominated.entry(node.to_owned()).or_default().push(pod);
    }

    /// Forgets for which node a pod was waiting; the pod, if it was.
    pub fn clear_nomination(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let found = self.nominated.iter().find_map(|(node, pods)| {
            let index = pods.iter().position(|pod| pod.uid == uid)?;
            Some((node.clone(), index))
        });
        let (node, index) = found?;
        let pods = self.nominated.get_mut(&node)?;
        let pod = pods.swap_remove(index);
        if pods.is_empty() {
            self.nominated.remove(&node);
        }
        Some(pod)
    }

    /// The pods a node is being made free for.
    pub fn nominated(&self, node: &str) -> &[Arc<PodInfo>] {
        self.nominated.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// The labels of a namespace.
    pub fn namespace(&self, name: &str) -> &Labels {
        static NONE: Labels = Labels::new();
        self.namespaces.get(name).unwrap_or(&NONE)
    }

    /// Takes the labels of a namespace, or forgets it.
    pub fn set_namespace(&mut self, name: String, labels: Option<Labels>) {
        match labels {
            Some(labels) => self.namespaces.insert(name, labels),
            None => self.namespaces.remove(&name),
        };
    }

    /// Takes the selector of an owner of pods, or forgets it.
    pub fn set_owner(
        &mut self,
        kind: OwnerKind,
        namespace: String,
        name: String,
        selector: Option<Selector>,
    ) {
        let key = (namespace, kind, name);
        match selector {
            Some(selector) => self.owners.insert(key, selector),
            None => self.owners.remove(&key),
        };
    }

    /// The selector of a pod's like: all Services that select it, and its controller's selector.
    /// Empty if nothing speaks of it.
    pub fn alike(&self, pod: &PodInfo) -> Selector {
        let first = (pod.namespace.clone(), OwnerKind::Service, String::new());
        let services = self.owners.range(first..).take_while(|((namespace, kind, _), _)| {
            *namespace == pod.namespace && *kind == OwnerKind::Service
        });
        let everything = Selector::of_labels(&Labels::new());
        let of_services = services
            .filter(|(_, selector)| !selector.is_empty() && selector.matches(&pod.labels))
            .fold(everything, |all, (_, selector)| all.and(selector));
        let owner = pod.controller.as_ref().and_then(|owner| {
            let kind = OwnerKind::of(&owner.api_version, &owner.kind)?;
            self.owners.get(&(pod.namespace.clone(), kind, owner.name.clone()))
        });
        match owner {
            Some(selector) => of_services.and(selector),
            None => of_services,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, node: Option<&str>) -> Arc<PodInfo> {
        let mut pod = PodInfo { uid: uid.into(), node: node.map(Into::into), ..PodInfo::default() };
        pod.requests.cpu_milli = 10;
        Arc::new(pod)
    }

    fn node(name: &str) -> NodeInfo {
        NodeInfo { name: name.into(), ..NodeInfo::default() }
    }

    fn cpu(cluster: &Cluster, name: &str) -> i64 {
        cluster.node(name).unwrap().requested.cpu_milli
    }

    #[test]
    fn an_assumed_pod_counts_once_also_when_confirmed() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("n1"));
        cluster.assume(pod("u", None), "n1");
        assert_eq!(cpu(&cluster, "n1"), 10);
        assert!(cluster.set_pod(pod("u", Some("n1"))).is_some());
        assert_eq!(cpu(&cluster, "n1"), 10);
        assert!(cluster.forget("u").is_none(), "a confirmed pod is not forgotten");
        cluster.remove_pod("u");
        assert_eq!(cpu(&cluster, "n1"), 0);
    }

    #[test]
    fn a_forgotten_pod_gives_back_what_it_took() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("n1"));
        cluster.assume(pod("u", None), "n1");
        assert!(cluster.forget("u").is_some());
        assert_eq!(cpu(&cluster, "n1"), 0);
    }

    #[test]
    fn a_pod_bound_elsewhere_than_assumed_moves() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("n1"));
        cluster.set_node(node("n2"));
        cluster.assume(pod("u", None), "n1");
        assert!(cluster.set_pod(pod("u", Some("n2"))).is_none());
        assert_eq!((cpu(&cluster, "n1"), cpu(&cluster, "n2")), (0, 10));
    }

    #[test]
    fn pods_survive_that_their_node_comes_late_or_again() {
        let mut cluster = Cluster::default();
        cluster.set_pod(pod("u", Some("n1")));
        cluster.set_node(node("n1"));
        assert_eq!(cpu(&cluster, "n1"), 10);
        cluster.set_node(node("n2"));
        cluster.remove_node("n1");
        assert_eq!(cluster.nodes().len(), 1);
        assert!(cluster.node("n2").is_some());
        cluster.set_node(node("n1"));
        assert_eq!(cpu(&cluster, "n1"), 10);
        cluster.set_node(node("n1"));
        assert_eq!(cpu(&cluster, "n1"), 10, "an update keeps the pods");
    }

    #[test]
    fn images_are_counted_over_the_nodes_that_have_them() {
        let mut cluster = Cluster::default();
        for name in ["n1", "n2"] {
            let mut node = node(name);
            node.images.insert("web:1".into(), 1);
            cluster.set_node(node.clone());
            cluster.set_node(node);
        }
        assert_eq!(cluster.nodes_with_image("web:1"), 2);
        cluster.set_node(node("n1"));
        assert_eq!(cluster.nodes_with_image("web:1"), 1);
        cluster.remove_node("n2");
        assert_eq!(cluster.nodes_with_image("web:1"), 0);
    }
}
