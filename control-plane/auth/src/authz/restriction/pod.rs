//! NodeRestriction for pods: mirror pods, status and eviction of a node's own pods.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Check, Operation, Refusal, Verdict, field, forbid, text};

/// What admission needs to know of a stored pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.uid`.
    pub uid: String,
    /// `spec.nodeName`.
    pub node: String,
    /// The audiences of its projected service-account tokens; empty for the API server's own.
    pub audiences: BTreeSet<String>,
}

impl PodFacts {
    /// The facts of a pod as it is stored.
    pub fn of(pod: &Value) -> Self {
        let list = |value: &Value, pointer: &str| -> Vec<Value> {
            value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let sources =
            list(pod, "/spec/volumes").into_iter().flat_map(|v| list(&v, "/projected/sources"));
        let tokens = sources.filter_map(|source| source.get("serviceAccountToken").cloned());
        Self {
            uid: text(Some(pod), "/metadata/uid").to_owned(),
            node: text(Some(pod), "/spec/nodeName").to_owned(),
            audiences: tokens.map(|token| text(Some(&token), "/audience").to_owned()).collect(),
        }
    }
}

impl Check<'_> {
    pub(super) fn stored_pod(&self, name: &str) -> Result<super::PodFacts, Refusal> {
        let namespace = self.write.resource.namespace;
        let missing = || Refusal::NotFound { resource: "pods", name: name.to_owned() };
        self.objects.pod(namespace, name).ok_or_else(missing)
    }

    pub(super) fn pod(&self) -> Verdict {
        let node = self.node;
        match (self.write.resource.subresource, self.write.operation) {
            ("", Operation::Create) => self.mirror_pod(),
            ("", Operation::Delete) if self.stored_pod(self.write.resource.name)?.node != node => {
                forbid(format!(
                    "node {node:?} can only delete pods with spec.nodeName set to itself"
                ))
            }
            ("", Operation::Delete) => Ok(()),
            ("", Operation::Update) => forbid(format!(
                "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
            )),
            ("status", Operation::Update) => self.pod_status(),
            ("eviction", Operation::Create) => self.eviction(),
            ("status" | "eviction", operation) => forbid(format!(
                "unexpected operation {:?}",
                format!("{operation:?}").to_uppercase()
            )),
            (other, _) => forbid(format!(
                "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
            )),
        }
    }

    /// A node creates nothing but records of its own static pods, which refer to nothing.
    fn mirror_pod(&self) -> Verdict {
        const MIRROR: &str = "kubernetes.io/config.mirror";
        let (node, pod) = (self.node, self.write.object);
        if field(pod, "/metadata/annotations/kubernetes.io~1config.mirror").is_none() {
            return forbid(format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if text(pod, "/spec/nodeName") != node {
            return forbid(format!(
                "node {node:?} can only create pods with spec.nodeName set to itself"
            ));
        }
        let owners = field(pod, "/metadata/ownerReferences").and_then(Value::as_array);
        match owners.map(Vec::as_slice).unwrap_or_default() {
            [owner] => self.owner(owner)?,
            [] => {
                return forbid(format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                ));
            }
            _ => {
                return forbid(format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
        }
        match pod.and_then(api_reference) {
            Some(what) => {
                forbid(format!("node {node:?} can not create pods that reference {what}"))
            }
            None => Ok(()),
        }
    }

    fn owner(&self, owner: &Value) -> Verdict {
        let node = self.node;
        let is = |name: &str, value: &str| text(Some(owner), name) == value;
        if !is("/apiVersion", "v1") || !is("/kind", "Node") || !is("/name", node) {
            return forbid(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        if owner["controller"] != true {
            return forbid(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if owner["blockOwnerDeletion"] == true {
            return forbid(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            ));
        }
        let missing = || Refusal::NotFound { resource: "nodes", name: node.to_owned() };
        let uid = self.objects.node_uid(node).ok_or_else(missing)?;
        let claimed = text(Some(owner), "/uid");
        if uid != claimed {
            return forbid(format!("node {node} UID mismatch: expected {claimed} got {uid}"));
        }
        Ok(())
    }

    fn pod_status(&self) -> Verdict {
        let node = self.node;
        if text(self.write.old, "/spec/nodeName") != node {
            return forbid(format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        let fixed = [
            ("/metadata/labels", "labels through pod status"),
            ("/status/resourceClaimStatuses", "resource claim statues"),
            ("/status/extendedResourceClaimStatus", "extended resource claim status"),
            (
                "/status/nodeAllocatableResourceClaimStatuses",
                "node allocatable resource claim statuses",
            ),
        ];
        match fixed.into_iter().find(|(pointer, _)| !self.unchanged(pointer)) {
            Some((_, what)) => forbid(format!("node {node:?} cannot update {what}")),
            None => Ok(()),
        }
    }

    fn eviction(&self) -> Verdict {
        let name = match self.write.resource.name {
            "" => text(self.write.object, "/metadata/name"),
            name => name,
        };
        if name.is_empty() {
            return forbid("could not determine pod from request data");
        }
        if self.stored_pod(name)?.node != self.node {
            return forbid(format!(
                "node {} can only evict pods with spec.nodeName set to itself",
                self.node
            ));
        }
        Ok(())
    }
}

/// The first thing in a pod that needs the API, by upstream's name for it.
fn api_reference(pod: &Value) -> Option<&'static str> {
    if !text(Some(pod), "/spec/serviceAccountName").is_empty() {
        return Some("serviceaccounts");
    }
    let used = crate::authz::node::references(pod);
    let has = |kind| used.iter().any(|(used, _, _)| *used == kind);
    use crate::authz::node::Used;
    if has(Used::Secret) {
        return Some("secrets");
    }
    if has(Used::ConfigMap) {
        return Some("configmaps");
    }
    if field(Some(pod), "/spec/resourceClaims").is_some() {
        return Some("resourceclaims");
    }
    let volumes = field(Some(pod), "/spec/volumes").and_then(Value::as_array)?;
    volumes.iter().find_map(volume_reference)
}

fn volume_reference(volume: &Value) -> Option<&'static str> {
    let kinds = [
        ("configMap", "configmaps (via configmap volumes)"),
        ("secret", "secrets (via secret volumes)"),
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", "secrets (via azureFile volumes)"),
    ];
    if let Some((_, what)) = kinds.into_iter().find(|(kind, _)| volume.get(kind).is_some()) {
        return Some(what);
    }
    let sources = [
        ("configMap", "configmaps (via projected volumes)"),
        ("secret", "secrets (via projected volumes)"),
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    let projected = field(Some(volume), "/projected/sources").and_then(Value::as_array)?;
    projected.iter().find_map(|source| {
        sources.into_iter().find(|(kind, _)| source.get(kind).is_some()).map(|(_, what)| what)
    })
}
