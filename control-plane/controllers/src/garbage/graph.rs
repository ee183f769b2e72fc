//! Who owns whom, as far as the watches have told.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// An owner with this finalizer stays until its blocking dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// An owner with this finalizer stays until its dependents have forgotten it.
pub(super) const ORPHAN: &str = "orphan";

/// An object, as far as garbage is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owners: Vec<OwnerReference>,
    /// Being deleted.
    pub(super) going: bool,
    pub(super) foreground: bool,
    pub(super) orphan: bool,
}

impl Node {
    pub(super) fn new(api_version: &str, kind: &str, meta: &ObjectMeta) -> Self {
        let has = |wanted: &str| meta.finalizers.iter().flatten().any(|f| f == wanted);
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            going: meta.deletion_timestamp.is_some(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
        }
    }

    /// Waits for its dependents.
    pub(super) fn waits(&self) -> bool {
        self.going && self.foreground
    }

    /// Waits for its dependents to be set free.
    pub(super) fn frees(&self) -> bool {
        self.going && self.orphan
    }
}

/// Nodes by uid, and the dependents of each owner, known itself or not.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid, self.nodes.get(uid)?)))
    }

    /// Takes in a node; answers the uids that are to be looked at because of it.
    pub(super) fn put(&mut self, uid: &str, node: Node) -> Vec<String> {
        let old = self.nodes.insert(uid.into(), node);
        let new = &self.nodes[uid];
        let mut look = Vec::new();
        if old.as_ref().is_none_or(|old| old.owners != new.owners) {
            for owner in old.iter().flat_map(|old| &old.owners) {
                forget(&mut self.dependents, &owner.uid, uid);
                // An owner that waited for this one may wait no more.
                look.extend(
                    self.nodes.get(&owner.uid).filter(|n| n.waits()).map(|_| owner.uid.clone()),
                );
            }
            for owner in &new.owners {
                self.dependents.entry(owner.uid.clone()).or_default().insert(uid.into());
            }
            let strange = |owner: &OwnerReference| !self.nodes.contains_key(&owner.uid);
            if new.owners.iter().any(strange) {
                look.push(uid.into());
            }
        }
        let begins = |now: bool, before: Option<bool>| now && before != Some(true);
        if begins(new.waits(), old.as_ref().map(Node::waits)) {
            look.extend(self.dependents.get(uid).into_iter().flatten().cloned());
            look.push(uid.into());
        }
        if begins(new.frees(), old.as_ref().map(Node::frees)) {
            look.push(uid.into());
        }
        // A dependent that begins to go the same way no longer needs to be told.
        if new.waits() {
            let waiting =
                new.owners.iter().filter(|o| self.nodes.get(&o.uid).is_some_and(Node::waits));
            look.extend(waiting.map(|owner| owner.uid.clone()));
        }
        look
    }

    /// Takes out a node; answers the uids that are to be looked at because of it.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(old) = self.nodes.remove(uid) else { return Vec::new() };
        for owner in &old.owners {
            forget(&mut self.dependents, &owner.uid, uid);
        }
        let waiting = old.owners.iter().filter(|o| self.nodes.get(&o.uid).is_some_and(Node::waits));
        let mut look: Vec<String> = waiting.map(|owner| owner.uid.clone()).collect();
        look.extend(self.dependents.get(uid).into_iter().flatten().cloned());
        look
    }

    /// The uids of all nodes of a kind.
    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> HashSet<String> {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|(_, node)| node.api_version == api_version && node.kind == kind);
        nodes.map(|(uid, _)| uid.clone()).collect()
    }

    /// The uids of all nodes with an owner that is not there.
    pub(super) fn with_strange_owners(&self) -> Vec<String> {
        let strange = |node: &Node| node.owners.iter().any(|o| !self.nodes.contains_key(&o.uid));
        let nodes =
            self.nodes.iter().filter(|(_, node)| strange(node) || node.waits() || node.frees());
        nodes.map(|(uid, _)| uid.clone()).collect()
    }
}

fn forget(dependents: &mut HashMap<String, HashSet<String>>, owner: &str, uid: &str) {
    if let Some(known) = dependents.get_mut(owner) {
        known.remove(uid);
        if known.is_empty() {
            dependents.remove(owner);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A node with these owners, deletion finalizers among `flags`, `going` when it is being deleted.
    pub(in crate::garbage) fn node(name: &str, owners: &[(&str, bool)], flags: &[&str]) -> Node {
        let references: Vec<_> = owners
            .iter()
            .map(|(uid, blocks)| {
                json!({"apiVersion": "v1", "kind": "K", "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
            })
            .collect();
        let finalizers: Vec<_> = flags.iter().filter(|flag| **flag != "going").collect();
        let going = flags.contains(&"going").then_some("2026-01-01T00:00:00Z");
        let meta = serde_json::from_value(json!({
            "name": name, "ownerReferences": references,
            "finalizers": finalizers, "deletionTimestamp": going,
        }))
        .unwrap();
        Node::new("v1", "K", &meta)
    }

    #[test]
    fn what_is_to_be_looked_at_follows_from_each_change() {
        let mut graph = Graph::default();
        assert!(graph.put("owner", node("owner", &[], &[])).is_empty());
        assert!(graph.put("child", node("child", &[("owner", true)], &[])).is_empty());
        assert_eq!(graph.put("lost", node("lost", &[("gone", true)], &[])), ["lost"]);
        assert_eq!(graph.with_strange_owners(), ["lost"]);
        let going = node("owner", &[], &["going", FOREGROUND]);
        assert_eq!(graph.put("owner", going), ["child", "owner"]);
        assert_eq!(graph.remove("child"), ["owner"]);
        graph.put("child", node("child", &[("owner", true)], &[]));
        assert_eq!(graph.remove("owner"), ["child"]);
    }

    #[test]
    fn a_dependent_that_is_released_frees_its_owner() {
        let mut graph = Graph::default();
        graph.put("owner", node("owner", &[], &["going", FOREGROUND]));
        graph.put("child", node("child", &[("owner", true)], &[]));
        assert_eq!(graph.put("child", node("child", &[], &[])), ["owner"]);
        assert_eq!(graph.dependents("owner").count(), 0);
    }
}
