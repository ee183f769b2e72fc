//! Persistent volumes, claims and storage classes, as far as scheduling cares.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::quantity::units;
use crate::selector::{Labels, NodeRequirements, Selector};

/// The provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// A claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The volume it is bound to, both sides agreeing.
    pub volume: Option<String>,
    /// Its storage class; empty for none.
    pub class: String,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    bytes: i64,
    modes: Vec<String>,
    selector: Option<Selector>,
}

impl Claim {
    /// Reads a claim.
    pub fn new(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.as_ref();
        let annotations = claim.metadata.annotations.as_ref();
        let complete =
            annotations.is_some_and(|a| a.contains_key("pv.kubernetes.io/bind-completed"));
        let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        Self {
            volume: spec
                .and_then(|spec| spec.volume_name.clone())
                .filter(|name| complete && !name.is_empty()),
            class: spec.and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default(),
            terminating: claim.metadata.deletion_timestamp.is_some(),
            bytes: requests.and_then(|list| list.get("storage")).map_or(0, units),
            modes: spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default(),
            selector: spec
                .and_then(|spec| spec.selector.as_ref())
                .map(|selector| Selector::new(Some(selector))),
        }
    }
}

impl Claim {
    /// Whether only one pod may use it.
    pub fn is_exclusive(&self) -> bool {
        self.modes.iter().any(|mode| mode == "ReadWriteOncePod")
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// The nodes it can be reached from.
    pub nodes: NodeRequirements,
    /// Namespace and name of the claim it belongs to.
    pub claim: Option<(String, String)>,
    class: String,
    bytes: i64,
    modes: Vec<String>,
    labels: Labels,
    available: bool,
}

impl Volume {
    /// Reads a volume.
    pub fn new(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.as_ref();
        let required = spec.and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
        let claim = spec.and_then(|spec| spec.claim_ref.as_ref());
        let capacity = spec.and_then(|spec| spec.capacity.as_ref());
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        Self {
            nodes: NodeRequirements::new(None, required),
            claim: claim.map(|claim| {
                (
                    claim.namespace.clone().unwrap_or_default(),
                    claim.name.clone().unwrap_or_default(),
                )
            }),
            class: spec.and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default(),
            bytes: capacity.and_then(|list| list.get("storage")).map_or(0, units),
            modes: spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default(),
            labels: volume.metadata.labels.clone().unwrap_or_default(),
            available: volume.metadata.deletion_timestamp.is_none()
                && !matches!(phase, Some("Released" | "Failed")),
        }
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Whether the volume could be the claim's.
    fn suits(&self, claim: &Claim, key: &(String, String)) -> bool {
        self.available
            && self.claim.as_ref().is_none_or(|own| own == key)
            && self.class == claim.class
            && self.bytes >= claim.bytes
            && claim.modes.iter().all(|mode| self.modes.contains(mode))
            && claim.selector.as_ref().is_none_or(|selector| selector.matches(&self.labels))
    }
}

/// A storage class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Whether volumes are found or made only once a pod is scheduled.
    pub waits: bool,
    /// Whether something makes volumes of this class.
    pub provisions: bool,
}

impl Class {
    /// Reads a class.
    pub fn new(class: &StorageClass) -> Self {
        Self {
            waits: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            provisions: class.provisioner != NO_PROVISIONER,
        }
    }
}

/// How a claim that waits gets its volume on the chosen node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supply {
    /// By this volume.
    Volume(String),
    /// By the provisioner of its class.
    Provisioner,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Volumes {
    claims: HashMap<(String, String), Claim>,
    volumes: HashMap<String, Volume>,
    classes: HashMap<String, Class>,
}

impl Volumes {
    /// Takes a claim, or forgets it.
    pub fn set_claim(&mut self, namespace: String, name: String, claim: Option<Claim>) {
        match claim {
            Some(claim) => self.claims.insert((namespace, name), claim),
            None => self.claims.remove(&(namespace, name)),
        };
    }

    /// Takes a volume, or forgets it.
    pub fn set_volume(&mut self, name: String, volume: Option<Volume>) {
        match volume {
            Some(volume) => self.volumes.insert(name, volume),
            None => self.volumes.remove(&name),
        };
    }

    /// Takes a class, or forgets it.
    pub fn set_class(&mut self, name: String, class: Option<Class>) {
        match class {
            Some(class) => self.classes.insert(name, class),
            None => self.classes.remove(&name),
        };
    }

    /// A claim.
    pub fn claim(&self, namespace: &str, name: &str) -> Option<&Claim> {
        self.claims.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// A volume.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.get(name)
    }

    /// Whether a claim waits for its pod to be scheduled.
    pub fn waits(&self, claim: &Claim) -> bool {
        claim.volume.is_none() && self.classes.get(&claim.class).is_some_and(|class| class.waits)
    }

    /// How a waiting claim can be supplied on a node: by the smallest volume that suits, or by the
    /// class's provisioner.
    pub fn supply(
        &self,
        namespace: &str,
        name: &str,
        node: &str,
        labels: &Labels,
    ) -> Option<Supply> {
        let key = (namespace.to_owned(), name.to_owned());
        let claim = self.claims.get(&key)?;
        let there = self
            .volumes
            .iter()
            .filter(|(_, volume)| volume.suits(claim, &key) && volume.nodes.matches(node, labels));
        let smallest = there
            .min_by_key(|(name, volume)| (volume.claim.is_none(), volume.bytes, (*name).clone()));
        if let Some((name, _)) = smallest {
            return Some(Supply::Volume(name.clone()));
        }
        let provisions = self.classes.get(&claim.class).is_some_and(|class| class.provisions);
        (provisions && claim.selector.is_none()).then_some(Supply::Provisioner)
    }
}
