//! Roles and bindings, indexed by whom they speak of.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rule::PolicyRule;
use super::{Attributes, Decision, Target};
use crate::authn::UserInfo;
use crate::serviceaccount::claims::user_name;

/// The four kinds of rbac.authorization.k8s.io.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RbacKind {
    /// Rules for the whole cluster, or to be bound in a namespace.
    ClusterRole,
    /// Rules for one namespace.
    Role,
    /// Grants a ClusterRole everywhere.
    ClusterRoleBinding,
    /// Grants a role in one namespace.
    RoleBinding,
}

impl RbacKind {
    /// The kind of this name.
    pub fn of_kind(kind: &str) -> Option<Self> {
        Some(match kind {
            "ClusterRole" => Self::ClusterRole,
            "Role" => Self::Role,
            "ClusterRoleBinding" => Self::ClusterRoleBinding,
            "RoleBinding" => Self::RoleBinding,
            _ => return None,
        })
    }

    /// The resource the kind is served as.
    pub fn resource(self) -> &'static str {
        match self {
            Self::ClusterRole => "clusterroles",
            Self::Role => "roles",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::RoleBinding => "rolebindings",
        }
    }

    /// The kind served as `resource`.
    pub fn of_resource(resource: &str) -> Option<Self> {
        Some(match resource {
            "clusterroles" => Self::ClusterRole,
            "roles" => Self::Role,
            "clusterrolebindings" => Self::ClusterRoleBinding,
            "rolebindings" => Self::RoleBinding,
            _ => return None,
        })
    }
}

/// Who a binding speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// A service account's namespace; in a RoleBinding the binding's own if empty.
    pub namespace: String,
}

/// The role a binding grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `ClusterRole` or `Role`.
    pub kind: String,
    /// The name.
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    metadata: Metadata,
    rules: Option<Vec<PolicyRule>>,
    subjects: Option<Vec<Subject>>,
    role_ref: RoleRef,
}

/// Namespace and name; the namespace is empty for cluster-wide objects.
type Key = (String, String);

#[derive(Debug)]
struct Binding {
    kind: RbacKind,
    key: Key,
    subjects: Vec<Subject>,
    role: RoleRef,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Principal {
    User(String),
    Group(String),
}

/// All roles and bindings of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    roles: HashMap<Key, Arc<[PolicyRule]>>,
    bindings: HashMap<(RbacKind, Key), Arc<Binding>>,
    /// For each namespace (empty: everywhere) and principal the bindings that speak of it.
    granted: HashMap<(String, Principal), BTreeSet<Key>>,
}

impl Rbac {
    /// Takes an object as it is stored, in place of the one of the same name.
    pub fn apply(&mut self, kind: RbacKind, object: &Value) -> Result<(), serde_json::Error> {
        let object = Object::deserialize(object)?;
        let key = (object.metadata.namespace, object.metadata.name);
        match kind {
            RbacKind::ClusterRole | RbacKind::Role => {
                self.roles.insert(key, object.rules.unwrap_or_default().into());
            }
            RbacKind::ClusterRoleBinding | RbacKind::RoleBinding => {
                self.unbind(kind, &key);
                let subjects = object.subjects.unwrap_or_default();
                self.bind(Binding { kind, key, subjects, role: object.role_ref });
            }
        }
        Ok(())
    }

    /// Forgets an object. `namespace` is empty for cluster-wide kinds.
    pub fn remove(&mut self, kind: RbacKind, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        match kind {
            RbacKind::ClusterRole | RbacKind::Role => {
                self.roles.remove(&key);
            }
            RbacKind::ClusterRoleBinding | RbacKind::RoleBinding => self.unbind(kind, &key),
        }
    }

    fn bind(&mut self, binding: Binding) {
        let namespace = binding.key.0.clone();
        for subject in &binding.subjects {
            if let Some(principal) = subject.principal(&namespace) {
                self.granted
                    .entry((namespace.clone(), principal))
                    .or_default()
                    .insert(binding.key.clone());
            }
        }
        self.bindings.insert((binding.kind, binding.key.clone()), Arc::new(binding));
    }

    fn unbind(&mut self, kind: RbacKind, key: &Key) {
        let Some(binding) = self.bindings.remove(&(kind, key.clone())) else { return };
        for subject in &binding.subjects {
            let Some(principal) = subject.principal(&key.0) else { continue };
            let place = (key.0.clone(), principal);
            if let Some(keys) = self.granted.get_mut(&place) {
                keys.remove(key);
                if keys.is_empty() {
                    self.granted.remove(&place);
                }
            }
        }
    }

    /// Whether a rule that is bound to the user allows the request.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let namespace = match &attributes.target {
            Target::Resource(resource) => resource.namespace,
            Target::Path(_) => "",
        };
        let mut missing = Vec::new();
        for grant in self.grants(attributes.user, namespace) {
            match self.role(grant.binding) {
                Ok(rules) if rules.iter().any(|rule| rule.allows(attributes)) => {
                    return Decision::Allow(format!("RBAC: allowed by {grant}"));
                }
                Ok(_) => {}
                Err(problem) => missing.push(problem),
            }
        }
        Decision::NoOpinion(match missing.len() {
            0 => String::new(),
            1 => format!("RBAC: {}", missing[0]),
            _ => format!("RBAC: [{}]", missing.join(", ")),
        })
    }

    /// All rules that apply to a user in a namespace (everywhere, if it is empty), and what could
    /// not be resolved.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for grant in self.grants(user, namespace) {
            match self.role(grant.binding) {
                Ok(granted) => rules.extend(granted.iter().cloned()),
                Err(problem) => problems.push(problem),
            }
        }
        (rules, problems)
    }

    /// The rules of the role that a binding in `namespace` refers to.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&[PolicyRule], String> {
        let namespace = if role.kind == "Role" { namespace } else { "" };
        let resource = match role.kind.as_str() {
            "Role" => "role",
            "ClusterRole" => "clusterrole",
            other => return Err(format!("unsupported role reference kind: {other:?}")),
        };
        self.roles.get(&(namespace.to_owned(), role.name.clone())).map(AsRef::as_ref).ok_or_else(
            || format!("{resource}.rbac.authorization.k8s.io {:?} not found", role.name),
        )
    }

    fn role(&self, binding: &Binding) -> Result<&[PolicyRule], String> {
        self.rules_of(&binding.role, &binding.key.0)
    }

    /// Cluster-wide bindings of the user first, then those of the namespace.
    fn grants<'a>(&'a self, user: &UserInfo, namespace: &str) -> Vec<Grant<'a>> {
        let mut principals = vec![Principal::User(user.name.clone())];
        principals.extend(user.groups.iter().cloned().map(Principal::Group));
        let mut places = vec![(RbacKind::ClusterRoleBinding, "")];
        if !namespace.is_empty() {
            places.push((RbacKind::RoleBinding, namespace));
        }
        let mut grants = Vec::new();
        for (kind, place) in places {
            let keys: BTreeSet<&Key> = principals
                .iter()
                .filter_map(|principal| self.granted.get(&(place.to_owned(), principal.clone())))
                .flatten()
                .collect();
            let bindings =
                keys.into_iter().filter_map(|key| self.bindings.get(&(kind, key.clone())));
            grants.extend(bindings.filter_map(|binding| Grant::of(binding, user)));
        }
        grants
    }
}

impl Subject {
    fn principal(&self, binding_namespace: &str) -> Option<Principal> {
        match self.kind.as_str() {
            "User" => Some(Principal::User(self.name.clone())),
            "Group" => Some(Principal::Group(self.name.clone())),
            "ServiceAccount" => {
                let namespace = self.namespace_in(binding_namespace);
                (!namespace.is_empty()).then(|| Principal::User(user_name(namespace, &self.name)))
            }
            _ => None,
        }
    }

    fn namespace_in<'a>(&'a self, binding_namespace: &'a str) -> &'a str {
        if self.namespace.is_empty() { binding_namespace } else { &self.namespace }
    }
}

/// A binding, and the first of its subjects that is the user.
struct Grant<'a> {
    binding: &'a Binding,
    subject: &'a Subject,
}

impl<'a> Grant<'a> {
    fn of(binding: &'a Binding, user: &UserInfo) -> Option<Self> {
        let is_user = |subject: &&Subject| match subject.principal(&binding.key.0) {
            Some(Principal::User(name)) => name == user.name,
            Some(Principal::Group(group)) => user.is_in(&group),
            None => false,
        };
        let subject = binding.subjects.iter().find(is_user)?;
        Some(Self { binding, subject })
    }
}

impl fmt::Display for Grant<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binding, subject } = self;
        let (namespace, name) = &binding.key;
        let (kind, name) = match binding.kind {
            RbacKind::RoleBinding => ("RoleBinding", format!("{name}/{namespace}")),
            _ => ("ClusterRoleBinding", name.clone()),
        };
        let whom = match subject.kind.as_str() {
            "ServiceAccount" => format!("{}/{}", subject.name, subject.namespace_in(namespace)),
            _ => subject.name.clone(),
        };
        let RoleRef { kind: role_kind, name: role } = &binding.role;
        write!(out, "{kind} {name:?} of {role_kind} {role:?} to {} {whom:?}", subject.kind)
    }
}

#[cfg(test)]
mod tests;
