//! Who a pod and its containers are, and how the runtime remembers them: the labels and annotations
//! that let a restarted kubelet find what it started.

use std::collections::{BTreeMap, HashMap};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};
use skep_cri::v1::{ContainerMetadata, PodSandboxMetadata};

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// The image that a container was made for: a changed one means a new container.
pub(crate) const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// What a container was made with: its resources may be changed while it runs.
pub(crate) const RESOURCES: &str = "io.skep.container.resources";
pub(crate) const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub(crate) const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub(crate) const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";

/// A pod's name for people and its id for the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PodId {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl PodId {
    /// From the object, if it has what every stored object has.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        Some(Self {
            namespace: pod.metadata.namespace.clone()?,
            name: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone()?,
        })
    }

    /// From the labels of a sandbox or container; none if it is not Kubernetes' own.
    pub(crate) fn from_labels(labels: &HashMap<String, String>) -> Option<Self> {
        Some(Self {
            namespace: labels.get(POD_NAMESPACE)?.clone(),
            name: labels.get(POD_NAME)?.clone(),
            uid: labels.get(POD_UID)?.clone(),
        })
    }

    /// What finds every sandbox and container of this pod.
    pub(crate) fn selector(&self) -> HashMap<String, String> {
        HashMap::from([(POD_UID.to_owned(), self.uid.clone())])
    }

    /// The labels of a sandbox: the pod's own and the identity.
    pub(crate) fn labels(&self, own: Option<&BTreeMap<String, String>>) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> =
            own.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        labels.insert(POD_NAME.into(), self.name.clone());
        labels.insert(POD_NAMESPACE.into(), self.namespace.clone());
        labels.insert(POD_UID.into(), self.uid.clone());
        labels
    }

    /// The sandbox's name for the runtime.
    pub(crate) fn metadata(&self, attempt: u32) -> PodSandboxMetadata {
        PodSandboxMetadata {
            name: self.name.clone(),
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            attempt,
        }
    }

    /// The pod's folder below the log root.
    pub(crate) fn log_folder(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

impl std::fmt::Display for PodId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A container's name for the runtime.
pub(crate) fn container_metadata(name: &str, attempt: u32) -> ContainerMetadata {
    ContainerMetadata { name: name.to_owned(), attempt }
}

/// What changes when a container must be made anew.
pub(crate) fn container_hash(container: &Container) -> String {
    // FNV-1a: the same on every build, and nothing but equality hangs on it.
    let text = format!("{}\0{}", container.name, container.image.as_deref().unwrap_or_default());
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:x}")
}

/// How long a pod may take to stop when nobody says otherwise.
pub(crate) fn grace_period(pod: &Pod) -> SignedDuration {
    let seconds = pod
        .metadata
        .deletion_grace_period_seconds
        .or_else(|| pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds));
    SignedDuration::from_secs(seconds.unwrap_or(30).max(0))
}

/// Does the pod share the node's network?
pub(crate) fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}
