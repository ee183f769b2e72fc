//! A node as scheduling sees it, with the pods on it added up.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{HostPort, PodInfo, normalized_image};
use crate::quantity::units;
use crate::resources::Resources;
use crate::selector::Labels;

/// A node and what is on it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may ask for in sum.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub allowed_pods: i64,
    /// The bytes of the images it has, by name.
    pub images: HashMap<String, i64>,
    /// The pods on it, also those on their way.
    pub pods: Vec<Arc<PodInfo>>,
    /// What they ask for in sum.
    pub requested: Resources,
    /// What they count for in sum when the node is scored.
    pub scored: Resources,
    /// The ports they take.
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    /// Reads a node; no pods are on it yet.
    pub fn new(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref());
        let mut images = HashMap::new();
        for image in status.and_then(|status| status.images.as_ref()).into_iter().flatten() {
            for name in image.names.iter().flatten() {
                images.insert(normalized_image(name), image.size_bytes.unwrap_or_default());
            }
        }
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
            allocatable: Resources::from_list(allocatable),
            allowed_pods: allocatable.and_then(|list| list.get("pods")).map_or(0, units),
            images,
            ..Self::default()
        }
    }

    /// Takes over the pods of an earlier version of this node.
    pub fn adopt(&mut self, earlier: &mut Self) {
        self.pods = std::mem::take(&mut earlier.pods);
        self.requested = std::mem::take(&mut earlier.requested);
        self.scored = std::mem::take(&mut earlier.scored);
        self.ports = std::mem::take(&mut earlier.ports);
    }

    /// Whether both versions of a node offer the same to pods.
    pub fn offers_same(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.taints == other.taints
            && self.unschedulable == other.unschedulable
            && self.allocatable == other.allocatable
            && self.allowed_pods == other.allowed_pods
    }

    /// Puts a pod on the node.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests, 1);
        self.scored.add(&pod.scored, 1);
        self.ports.extend(pod.ports.iter().cloned());
        self.pods.push(pod);
    }

    /// Takes the pod of this uid off the node.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let index = self.pods.iter().position(|pod| pod.uid == uid)?;
        let pod = self.pods.swap_remove(index);
        self.requested.add(&pod.requests, -1);
        self.scored.add(&pod.scored, -1);
        for port in &pod.ports {
            if let Some(index) = self.ports.iter().position(|own| own == port) {
                self.ports.swap_remove(index);
            }
        }
        Some(pod)
    }

    /// The value of a topology label.
    pub fn domain(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_what_was_added_leaves_nothing() {
        let mut pod = PodInfo { uid: "u".into(), ..PodInfo::default() };
        pod.requests.cpu_milli = 100;
        pod.requests.scalars.insert("example.com/gpu".into(), 1);
        pod.ports = vec![HostPort { address: "0.0.0.0".into(), protocol: "TCP".into(), port: 80 }];
        let mut node = NodeInfo::default();
        node.add(Arc::new(pod.clone()));
        pod.uid = "v".into();
        node.add(Arc::new(pod));
        assert_eq!((node.requested.cpu_milli, node.ports.len()), (200, 2));
        assert!(node.remove("u").is_some());
        assert!(node.remove("u").is_none());
        assert_eq!((node.requested.cpu_milli, node.ports.len(), node.pods.len()), (100, 1, 1));
    }
}
