//! Which node uses what: kept from pods, volumes, attachments and resource slices.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::authz::PolicyRule;

/// The kinds of objects the graph is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphKind {
    /// Pods: what they refer to is used by their node.
    Pod,
    /// Volumes: used by whoever uses their claim.
    PersistentVolume,
    /// Attachments, each of one node.
    VolumeAttachment,
    /// Slices, each of at most one node.
    ResourceSlice,
}

impl GraphKind {
    /// The kind served as `resource` of `group`, if the graph wants it.
    pub fn of_resource(group: &str, resource: &str) -> Option<Self> {
        Some(match (group, resource) {
            ("", "pods") => Self::Pod,
            ("", "persistentvolumes") => Self::PersistentVolume,
            ("storage.k8s.io", "volumeattachments") => Self::VolumeAttachment,
            ("resource.k8s.io", "resourceslices") => Self::ResourceSlice,
            _ => return None,
        })
    }
}

/// The kinds of objects a node may be related to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::authz) enum Used {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    Volume,
    Attachment,
    ServiceAccount,
    ResourceClaim,
    ResourceSlice,
}

/// Kind, namespace (empty for cluster-wide objects) and name.
type Object = (Used, String, String);

#[derive(Clone, Debug)]
struct Volume {
    claim: Object,
    secrets: Vec<Object>,
}

/// Which node uses what.
#[derive(Clone, Debug, Default)]
pub struct NodeGraph {
    rules: Vec<PolicyRule>,
    /// How many of a node's pods use an object.
    users: HashMap<Object, HashMap<String, usize>>,
    pods: HashMap<(String, String), (String, HashSet<Object>)>,
    volumes: HashMap<String, Volume>,
}

impl NodeGraph {
    /// An empty graph. `rules` are what every node may do besides: those of the ClusterRole
    /// `system:node`.
    pub fn new(rules: Vec<PolicyRule>) -> Self {
        Self { rules, ..Self::default() }
    }

    pub(super) fn rules(&self) -> &[PolicyRule] {
        &self.rules
    }

    /// Takes an object as it is stored, in place of the one of the same name.
    pub fn apply(&mut self, kind: GraphKind, object: &Value) {
        let name = text(object, "/metadata/name").to_owned();
        let namespace = text(object, "/metadata/namespace").to_owned();
        match kind {
            GraphKind::Pod => {
                self.remove(kind, &namespace, &name);
                let node = text(object, "/spec/nodeName");
                if !node.is_empty() {
                    let mut used =
                        if is_mirror(object) { HashSet::new() } else { references(object) };
                    used.insert((Used::Pod, namespace.clone(), name.clone()));
                    self.take((namespace, name), node, used);
                }
            }
            GraphKind::PersistentVolume => {
                self.volumes.remove(&name);
                if let Some(volume) = volume(object) {
                    self.volumes.insert(name, volume);
                }
            }
            GraphKind::VolumeAttachment => {
                self.own(Used::Attachment, &name, text(object, "/spec/nodeName"));
            }
            GraphKind::ResourceSlice => {
                self.own(Used::ResourceSlice, &name, text(object, "/spec/nodeName"));
            }
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: GraphKind, namespace: &str, name: &str) {
        match kind {
            GraphKind::Pod => {
                let Some((node, used)) = self.pods.remove(&(namespace.to_owned(), name.to_owned()))
                else {
                    return;
                };
                for object in used {
                    self.release(&object, &node);
                }
            }
            GraphKind::PersistentVolume => {
                self.volumes.remove(name);
            }
            GraphKind::VolumeAttachment => self.own(Used::Attachment, name, ""),
            GraphKind::ResourceSlice => self.own(Used::ResourceSlice, name, ""),
        }
    }

    fn take(&mut self, pod: (String, String), node: &str, used: HashSet<Object>) {
        for object in &used {
            *self.users.entry(object.clone()).or_default().entry(node.to_owned()).or_default() += 1;
        }
        self.pods.insert(pod, (node.to_owned(), used));
    }

    fn release(&mut self, object: &Object, node: &str) {
        let Some(nodes) = self.users.get_mut(object) else { return };
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.users.remove(object);
        }
    }

    fn own(&mut self, kind: Used, name: &str, node: &str) {
        let object = (kind, String::new(), name.to_owned());
        self.users.remove(&object);
        if !node.is_empty() {
            self.users.insert(object, HashMap::from([(node.to_owned(), 1)]));
        }
    }

    /// Whether a node uses an object, itself or through its pods' volumes.
    pub(super) fn uses(&self, node: &str, kind: Used, namespace: &str, name: &str) -> bool {
        let object = (kind, namespace.to_owned(), name.to_owned());
        self.has(node, &object)
            || match kind {
                Used::Volume => {
                    self.volumes.get(name).is_some_and(|volume| self.has(node, &volume.claim))
                }
                Used::Secret => self.volumes.values().any(|volume| {
                    volume.secrets.contains(&object) && self.has(node, &volume.claim)
                }),
                _ => false,
            }
    }

    fn has(&self, node: &str, object: &Object) -> bool {
        self.users.get(object).is_some_and(|nodes| nodes.contains_key(node))
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The kubelet's own record of a static pod.
fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some()
}

fn volume(object: &Value) -> Option<Volume> {
    let claim = object.pointer("/spec/claimRef")?;
    let namespace = text(claim, "/namespace");
    let sources = [
        "/spec/azureFile",
        "/spec/cephfs/secretRef",
        "/spec/cinder/secretRef",
        "/spec/flexVolume/secretRef",
        "/spec/rbd/secretRef",
        "/spec/scaleIO/secretRef",
        "/spec/iscsi/secretRef",
        "/spec/storageos/secretRef",
        "/spec/csi/nodePublishSecretRef",
        "/spec/csi/nodeStageSecretRef",
        "/spec/csi/nodeExpandSecretRef",
    ];
    let secrets = sources.iter().filter_map(|pointer| {
        let source = object.pointer(pointer)?;
        let (own, name) = match *pointer {
            "/spec/azureFile" => (text(source, "/secretNamespace"), text(source, "/secretName")),
            _ => (text(source, "/namespace"), text(source, "/name")),
        };
        let namespace = if own.is_empty() { namespace } else { own };
        (!name.is_empty()).then(|| (Used::Secret, namespace.to_owned(), name.to_owned()))
    });
    Some(Volume {
        claim: (Used::Claim, namespace.to_owned(), text(claim, "/name").to_owned()),
        secrets: secrets.collect(),
    })
}

/// Every object that a pod's spec names.
pub(in crate::authz) fn references(pod: &Value) -> HashSet<Object> {
    let mut found =
        References { namespace: text(pod, "/metadata/namespace"), objects: HashSet::new() };
    found.add(Used::ServiceAccount, text(pod, "/spec/serviceAccountName"));
    for secret in list(pod, "/spec/imagePullSecrets") {
        found.add(Used::Secret, text(secret, "/name"));
    }
    for kind in ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"] {
        list(pod, kind).for_each(|container| found.container(container));
    }
    for volume in list(pod, "/spec/volumes") {
        found.volume(volume);
        if volume.get("ephemeral").is_some() {
            let claim = format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name"));
            found.add(Used::Claim, &claim);
        }
    }
    for claim in list(pod, "/spec/resourceClaims").chain(list(pod, "/status/resourceClaimStatuses"))
    {
        found.add(Used::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    found.add(
        Used::ResourceClaim,
        text(pod, "/status/extendedResourceClaimStatus/resourceClaimName"),
    );
    found.objects
}

struct References<'a> {
    namespace: &'a str,
    objects: HashSet<Object>,
}

impl References<'_> {
    fn add(&mut self, kind: Used, name: &str) {
        if !name.is_empty() {
            self.objects.insert((kind, self.namespace.to_owned(), name.to_owned()));
        }
    }

    fn container(&mut self, container: &Value) {
        for source in list(container, "/envFrom") {
            self.add(Used::Secret, text(source, "/secretRef/name"));
            self.add(Used::ConfigMap, text(source, "/configMapRef/name"));
        }
        for variable in list(container, "/env") {
            self.add(Used::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
            self.add(Used::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name"));
        }
    }

    fn volume(&mut self, volume: &Value) {
        let secrets = [
            "/secret/secretName",
            "/azureFile/secretName",
            "/cephfs/secretRef/name",
            "/cinder/secretRef/name",
            "/flexVolume/secretRef/name",
            "/rbd/secretRef/name",
            "/scaleIO/secretRef/name",
            "/iscsi/secretRef/name",
            "/storageos/secretRef/name",
            "/csi/nodePublishSecretRef/name",
        ];
        for pointer in secrets {
            self.add(Used::Secret, text(volume, pointer));
        }
        self.add(Used::ConfigMap, text(volume, "/configMap/name"));
        self.add(Used::Claim, text(volume, "/persistentVolumeClaim/claimName"));
        for source in list(volume, "/projected/sources") {
            self.add(Used::Secret, text(source, "/secret/name"));
            self.add(Used::ConfigMap, text(source, "/configMap/name"));
        }
    }
}
