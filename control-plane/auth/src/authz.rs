//! What a user may do: upstream's Node and RBAC authorizers over values kept in memory.
//!
//! The API server feeds [`Rbac`] and [`NodeGraph`] with the objects it stores and asks
//! [`Authorizer::authorize`] about each request.

pub mod attributes;
pub mod escalation;
pub mod node;
pub mod rbac;
pub mod restriction;

pub mod rule;

pub use attributes::{Attributes, Resource, Target};
pub use node::NodeGraph;
pub use rbac::{Rbac, RbacKind};
pub use rule::PolicyRule;

use crate::authn::user::MASTERS;

/// An authorizer's word on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may go on; the reason is for the audit log and access reviews.
    Allow(String),
    /// Nobody allows it. The reason may be empty.
    NoOpinion(String),
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow(reason) | Self::NoOpinion(reason) => reason,
        }
    }
}

/// The cluster's authorizers, in upstream's order: `system:masters`, Node, RBAC.
#[derive(Clone, Debug, Default)]
pub struct Authorizer {
    /// Roles and bindings.
    pub rbac: Rbac,
    /// What the nodes' pods use.
    pub nodes: NodeGraph,
}

impl Authorizer {
    /// Whether a request is allowed: the first authorizer that says so wins; the reasons of those
    /// that did not know are joined.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        for decision in [self.nodes.authorize(attributes), self.rbac.authorize(attributes)] {
            match decision {
                Decision::Allow(reason) => return Decision::Allow(reason),
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::UserInfo;

    #[test]
    fn masters_may_do_everything_and_strangers_nothing() {
        let authorizer = Authorizer::default();
        for (group, allowed) in [(MASTERS, true), ("system:authenticated", false)] {
            let user = UserInfo::new("u", &[group]);
            let target = Target::Path("/metrics");
            let decision = authorizer.authorize(&Attributes { user: &user, verb: "get", target });
            assert_eq!(decision.is_allowed(), allowed, "{group}");
        }
    }
}
