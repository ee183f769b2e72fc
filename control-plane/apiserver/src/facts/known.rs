//! The facts themselves, fed with objects as they are stored.

use std::collections::HashMap;
use std::time::SystemTime;

use skep_api::Object;
use skep_auth::authn::{self, StoredObject};
use skep_auth::authz::node::GraphKind;
use skep_auth::authz::restriction::{self, PodFacts};
use skep_auth::authz::{Authorizer, NodeGraph, RbacKind};
use skep_auth::policy;
use skep_auth::token::SecretToken;

use crate::verbs::meta;

type Name = (String, String);

/// Everything known, by namespace and name.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) authorizer: Authorizer,
    accounts: HashMap<Name, StoredObject>,
    pods: HashMap<Name, (StoredObject, PodFacts)>,
    secrets: HashMap<Name, StoredObject>,
    nodes: HashMap<Name, StoredObject>,
    bootstrap_tokens: HashMap<Name, SecretToken>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            authorizer: Authorizer {
                nodes: NodeGraph::new(policy::node_rules()),
                ..Authorizer::default()
            },
            accounts: HashMap::new(),
            pods: HashMap::new(),
            secrets: HashMap::new(),
            nodes: HashMap::new(),
            bootstrap_tokens: HashMap::new(),
        }
    }
}

/// The resources that facts come from.
pub(super) const SOURCES: [(&str, &str, &str); 11] = [
    ("", "v1", "serviceaccounts"),
    ("", "v1", "pods"),
    ("", "v1", "secrets"),
    ("", "v1", "nodes"),
    ("", "v1", "persistentvolumes"),
    ("storage.k8s.io", "v1", "volumeattachments"),
    ("resource.k8s.io", "v1", "resourceslices"),
    ("rbac.authorization.k8s.io", "v1", "clusterroles"),
    ("rbac.authorization.k8s.io", "v1", "roles"),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"),
];

impl Known {
    /// Takes an object in, or forgets it when there is none.
    pub(super) fn apply(
        &mut self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
        object: Option<&Object>,
    ) {
        let key = (namespace.to_owned(), name.to_owned());
        let stored = object.map(stored_object);
        match (group, resource) {
            ("", "serviceaccounts") => set(&mut self.accounts, key, stored),
            ("", "nodes") => set(&mut self.nodes, key, stored),
            ("", "pods") => {
                set(&mut self.pods, key, stored.zip(object.map(PodFacts::of)));
            }
            ("", "secrets") => {
                let token = object.and_then(SecretToken::from_secret);
                set(&mut self.bootstrap_tokens, key.clone(), token);
                set(&mut self.secrets, key, stored);
            }
            _ => {}
        }
        if let Some(kind) = GraphKind::of_resource(group, resource) {
            match object {
                Some(object) => self.authorizer.nodes.apply(kind, object),
                None => self.authorizer.nodes.remove(kind, namespace, name),
            }
        }
        if let (GROUP, Some(kind)) = (group, RbacKind::of_resource(resource)) {
            match object.map(|object| self.authorizer.rbac.apply(kind, object)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(resource, namespace, name, %error, "unreadable RBAC object grants nothing");
                    self.authorizer.rbac.remove(kind, namespace, name);
                }
                None => self.authorizer.rbac.remove(kind, namespace, name),
            }
        }
    }
}

const GROUP: &str = "rbac.authorization.k8s.io";

fn set<T>(map: &mut HashMap<Name, T>, key: Name, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn stored_object(object: &Object) -> StoredObject {
    let deleted = meta::text(object, "deletionTimestamp").parse::<jiff::Timestamp>().ok();
    StoredObject {
        uid: meta::text(object, "uid").to_owned(),
        deleted: deleted.map(SystemTime::from),
    }
}

fn key(namespace: &str, name: &str) -> Name {
    (namespace.to_owned(), name.to_owned())
}

impl authn::Lookup for Known {
    fn service_account(&self, namespace: &str, name: &str) -> Option<StoredObject> {
        self.accounts.get(&key(namespace, name)).cloned()
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<StoredObject> {
        self.pods.get(&key(namespace, name)).map(|(stored, _)| stored.clone())
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<StoredObject> {
        self.secrets.get(&key(namespace, name)).cloned()
    }

    fn node(&self, name: &str) -> Option<StoredObject> {
        self.nodes.get(&key("", name)).cloned()
    }

    fn bootstrap_token(&self, id: &str) -> Option<SecretToken> {
        let name = skep_auth::token::secret_name(id);
        self.bootstrap_tokens.get(&key("kube-system", &name)).cloned()
    }
}

impl restriction::Lookup for Known {
    fn pod(&self, namespace: &str, name: &str) -> Option<PodFacts> {
        self.pods.get(&key(namespace, name)).map(|(_, facts)| facts.clone())
    }

    fn node_uid(&self, name: &str) -> Option<String> {
        self.nodes.get(&key("", name)).map(|node| node.uid.clone())
    }
}
