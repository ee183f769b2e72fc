//! The user a request speaks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The group of everyone who has shown credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everyone who has not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The key in `extra` that names the credential used.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A user, shaped like authentication.k8s.io/v1's UserInfo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// The name.
    #[serde(rename = "username", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// An id that is not used again for another user of the same name; often empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What the authenticator knows besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user in some groups.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The user of a request without credentials.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// The same user, in the group of all who showed credentials.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        if !self.is_in(AUTHENTICATED) && !self.is_in(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node whose kubelet this is: `system:node:NAME` in `system:nodes`.
    pub fn node_name(&self) -> Option<&str> {
        let name = self.name.strip_prefix("system:node:")?;
        self.is_in("system:nodes").then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_known_by_name_and_group() {
        let cases = [
            ("system:node:n1", "system:nodes", Some("n1")),
            ("system:node:", "system:nodes", Some("")),
            ("system:node:n1", "system:masters", None),
            ("n1", "system:nodes", None),
        ];
        for (name, group, node) in cases {
            assert_eq!(UserInfo::new(name, &[group]).node_name(), node, "{name} {group}");
        }
    }

    #[test]
    fn authentication_marks_once_and_never_the_anonymous() {
        let user = UserInfo::new("a", &[]).authenticated().authenticated();
        assert_eq!(user.groups, [AUTHENTICATED]);
        assert_eq!(UserInfo::anonymous().authenticated().groups, [UNAUTHENTICATED]);
    }

    #[test]
    fn the_json_is_that_of_the_authentication_api() {
        let user = UserInfo::new("a", &["g"]);
        assert_eq!(
            serde_json::to_value(&user).unwrap(),
            serde_json::json!({"username": "a", "groups": ["g"]})
        );
    }
}
