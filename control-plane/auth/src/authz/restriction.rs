//! NodeRestriction admission: what the authorizer could not see because it lies in the object a
//! kubelet writes. A compromised node must not reach beyond itself.

mod pod;

use std::collections::BTreeSet;

use serde_json::Value;

pub use pod::PodFacts;

use super::{Attributes, Authorizer, Resource, Target};
use crate::authn::UserInfo;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// Another version of an object, also by patch.
    Update,
    /// The end of an object.
    Delete,
}

/// A write about to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Who writes.
    pub user: &'a UserInfo,
    /// What is done.
    pub operation: Operation,
    /// To what. The name may be empty on create.
    pub resource: Resource<'a>,
    /// The object as it shall be (for subresources: what was sent).
    pub object: Option<&'a Value>,
    /// The object as it is.
    pub old: Option<&'a Value>,
}

/// How admission asks about stored objects.
pub trait Lookup {
    /// A pod.
    fn pod(&self, namespace: &str, name: &str) -> Option<PodFacts>;
    /// A node's uid.
    fn node_uid(&self, name: &str) -> Option<String>;
}

/// Why a node's write is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403, with this reason.
    #[error("{0}")]
    Forbidden(String),
    /// 404: an object that the write refers to.
    #[error("{resource} {name:?} not found")]
    NotFound {
        /// The plural name of its kind.
        resource: &'static str,
        /// Its name.
        name: String,
    },
}

type Verdict = Result<(), Refusal>;

fn forbid(reason: impl Into<String>) -> Verdict {
    Err(Refusal::Forbidden(reason.into()))
}

/// Checks a kubelet's write. Writes of others pass.
pub fn admit(write: &Write<'_>, objects: &dyn Lookup, authorizer: &Authorizer) -> Verdict {
    let Some(node) = write.user.node_name() else {
        return Ok(());
    };
    if node.is_empty() {
        return forbid(format!("could not determine node from user {:?}", write.user.name));
    }
    let check = Check { node, write, objects, authorizer };
    match (write.resource.group, write.resource.resource) {
        ("", "pods") => check.pod(),
        ("", "nodes") => check.node(),
        ("", "persistentvolumeclaims") => check.claim(),
        ("", "serviceaccounts") => check.token(),
        ("coordination.k8s.io", "leases") => check.lease(),
        ("storage.k8s.io", "csinodes") => check.csi_node(),
        ("resource.k8s.io", "resourceslices") => check.resource_slice(),
        ("certificates.k8s.io", "certificatesigningrequests") => check.signing_request(),
        _ => Ok(()),
    }
}

struct Check<'a> {
    node: &'a str,
    write: &'a Write<'a>,
    objects: &'a dyn Lookup,
    authorizer: &'a Authorizer,
}

fn text<'a>(object: Option<&'a Value>, pointer: &str) -> &'a str {
    object.and_then(|object| object.pointer(pointer)).and_then(Value::as_str).unwrap_or_default()
}

/// A field, where absent, null and empty mean the same.
fn field<'a>(object: Option<&'a Value>, pointer: &str) -> Option<&'a Value> {
    let value = object?.pointer(pointer)?;
    let empty = value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty);
    (!empty).then_some(value)
}

impl Check<'_> {
    fn unchanged(&self, pointer: &str) -> bool {
        field(self.write.object, pointer) == field(self.write.old, pointer)
    }

    fn node(&self) -> Verdict {
        let Self { node, write, .. } = self;
        let requested = match write.resource.name {
            "" => text(write.object, "/metadata/name"),
            name => name,
        };
        if requested != *node {
            return forbid(format!("node {node:?} is not allowed to modify node {requested:?}"));
        }
        match write.operation {
            Operation::Delete => Ok(()),
            Operation::Create => {
                let labels = forbidden_labels(write.object, None);
                if labels.is_empty() {
                    return Ok(());
                }
                forbid(format!(
                    "node {node:?} is not allowed to set the following labels: {}",
                    labels.join(", ")
                ))
            }
            Operation::Update => self.node_update(),
        }
    }

    fn node_update(&self) -> Verdict {
        let Self { node, write, .. } = self;
        if !self.unchanged("/spec/taints") {
            return forbid(format!("node {node:?} is not allowed to modify taints"));
        }
        if !self.unchanged("/metadata/ownerReferences") {
            return forbid(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
        let labels = forbidden_labels(write.object, write.old);
        if labels.is_empty() {
            return Ok(());
        }
        forbid(format!("is not allowed to modify labels: {}", labels.join(", ")))
    }

    fn claim(&self) -> Verdict {
        let Self { node, write, .. } = self;
        if write.resource.subresource != "status" {
            return forbid("may only update PVC status");
        }
        let kept = |object: Option<&Value>| {
            let mut object = object.cloned().unwrap_or_default();
            for (parent, name) in [
                ("/metadata", "resourceVersion"),
                ("/metadata", "managedFields"),
                ("/status", "capacity"),
                ("/status", "conditions"),
                ("/status", "allocatedResources"),
                ("/status", "allocatedResourceStatuses"),
            ] {
                if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
                    parent.remove(name);
                }
            }
            object
        };
        if kept(write.object) == kept(write.old) {
            return Ok(());
        }
        forbid(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ))
    }

    fn token(&self) -> Verdict {
        let Self { write, .. } = self;
        if write.operation != Operation::Create || write.resource.subresource != "token" {
            return Ok(());
        }
        let bound = |name: &str| text(write.object, &format!("/spec/boundObjectRef/{name}"));
        if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
            return forbid("node requested token not bound to a pod");
        }
        let uid = bound("uid");
        if uid.is_empty() {
            return forbid("node requested token with a pod binding without a uid");
        }
        let pod = self.stored_pod(bound("name"))?;
        if uid != pod.uid {
            return forbid(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ));
        }
        if pod.node != self.node {
            return forbid("node requested token bound to a pod scheduled on a different node");
        }
        self.audience(&pod)
    }

    /// A node asks only for audiences that the pod asks for, or that a rule lets it ask for.
    fn audience(&self, pod: &PodFacts) -> Verdict {
        let Write { user, resource, object, .. } = self.write;
        let audiences = field(*object, "/spec/audiences").and_then(Value::as_array);
        let audience = match audiences.map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            _ => return forbid("node may only request 0 or 1 audiences"),
        };
        if pod.audiences.contains(audience) {
            return Ok(());
        }
        let target = Resource { resource: audience, subresource: "", ..*resource };
        let verb = "request-serviceaccounts-token-audience";
        let attributes = Attributes { user, verb, target: Target::Resource(target) };
        if self.authorizer.authorize(&attributes).is_allowed() {
            return Ok(());
        }
        forbid(format!(
            "{} is not authorized to request tokens for audience {audience:?}",
            user.name
        ))
    }

    fn own_name(&self, what: &str) -> Verdict {
        let Write { operation, resource, object, .. } = self.write;
        let name = match operation {
            Operation::Create => text(*object, "/metadata/name"),
            _ => resource.name,
        };
        if name == self.node {
            return Ok(());
        }
        forbid(format!("can only access {what} with the same name as the requesting node"))
    }

    fn lease(&self) -> Verdict {
        if self.write.resource.namespace != "kube-node-lease" {
            return forbid(r#"can only access leases in the "kube-node-lease" system namespace"#);
        }
        self.own_name("node lease")
    }

    fn csi_node(&self) -> Verdict {
        if !self.write.resource.subresource.is_empty() {
            return forbid("CSIVolumeHealth feature gate is disabled");
        }
        self.own_name("CSINode")
    }

    fn resource_slice(&self) -> Verdict {
        let (object, verb) = match self.write.operation {
            Operation::Create => (self.write.object, "create"),
            Operation::Delete => (self.write.old, "delete"),
            Operation::Update => return Ok(()),
        };
        if text(object, "/spec/nodeName") == self.node {
            return Ok(());
        }
        forbid(format!(
            "can only {verb} ResourceSlice with the same NodeName as the requesting node"
        ))
    }

    /// A kubelet asks for certificates in its own name alone.
    fn signing_request(&self) -> Verdict {
        use base64::Engine as _;
        let Write { operation, resource, object, .. } = self.write;
        let signer = text(*object, "/spec/signerName");
        let ours = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
        if *operation != Operation::Create
            || !resource.subresource.is_empty()
            || !ours.contains(&signer)
        {
            return Ok(());
        }
        let request = base64::engine::general_purpose::STANDARD
            .decode(text(*object, "/spec/request"))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|pem| crate::pki::Request::from_pem(&pem).ok());
        let Some(request) = request else {
            return forbid("unable to parse csr");
        };
        let name = &request.subject().common_name;
        if *name == self.write.user.name {
            return Ok(());
        }
        forbid(format!("can only create a node CSR with CN={}", self.write.user.name))
    }
}

/// Labels that differ and that a node may not choose for itself.
fn forbidden_labels(object: Option<&Value>, old: Option<&Value>) -> Vec<String> {
    let labels = |object| field(object, "/metadata/labels").and_then(Value::as_object);
    let (new, old) = (labels(object), labels(old));
    let keys: BTreeSet<&String> =
        [new, old].into_iter().flatten().flat_map(|map| map.keys()).collect();
    let value = |map: Option<&serde_json::Map<String, Value>>, key: &str| {
        map.and_then(|map| map.get(key)).cloned()
    };
    keys.into_iter()
        .filter(|key| value(new, key) != value(old, key) && is_forbidden(key))
        .cloned()
        .collect()
}

/// Kubernetes' own labels are forbidden, except those a kubelet tells of itself.
fn is_forbidden(label: &str) -> bool {
    const KUBELETS: [&str; 11] = [
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    ];
    let Some((domain, _)) = label.split_once('/') else {
        return false;
    };
    let within = |parent: &str| {
        domain == parent || domain.strip_suffix(parent).is_some_and(|d| d.ends_with('.'))
    };
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let own = KUBELETS.contains(&label)
        || within("kubelet.kubernetes.io")
        || within("node.kubernetes.io");
    (within("kubernetes.io") || within("k8s.io")) && !own
}

#[cfg(test)]
mod tests;
