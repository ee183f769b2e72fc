//! Nobody grants more than they may do themselves, unless they are allowed to (`escalate`, `bind`).

use serde::Deserialize;
use skep_api::Object;
use skep_api::status::Status;
use skep_auth::authn::user::MASTERS;
use skep_auth::authz::rbac::RoleRef;
use skep_auth::authz::{PolicyRule, RbacKind, escalation};

use super::{Operation, Write};

pub(super) async fn validate(write: &Write<'_>) -> Result<(), Status> {
    let kind = (write.resource.group == "rbac.authorization.k8s.io")
        .then(|| RbacKind::of_resource(&write.resource.plural))
        .flatten();
    let (Some(kind), Some(object)) = (kind, &write.object) else { return Ok(()) };
    if write.operation == Operation::Delete
        || write.user.is_in(MASTERS)
        || !grants_more(kind, object, write.old)
        || check(write, kind, object).is_ok()
    {
        return Ok(());
    }
    write.server.facts().caught_up(write.server).await?;
    check(write, kind, object).map_err(|reason| write.forbidden(reason))
}

/// Other changes, such as of labels, need no right to grant.
fn grants_more(kind: RbacKind, object: &Object, old: Option<&Object>) -> bool {
    let parts: &[&str] = match kind {
        RbacKind::ClusterRole | RbacKind::Role => &["rules", "aggregationRule"],
        RbacKind::ClusterRoleBinding | RbacKind::RoleBinding => &["roleRef", "subjects"],
    };
    old.is_none_or(|old| parts.iter().any(|part| object[part] != old[part]))
}

fn check(write: &Write<'_>, kind: RbacKind, object: &Object) -> Result<(), String> {
    let known = write.server.facts().known();
    let (authorizer, user, namespace) = (&known.authorizer, write.user, write.namespace);
    match kind {
        RbacKind::ClusterRole | RbacKind::Role => {
            let rules = match object.get("rules") {
                None => Vec::new(),
                Some(rules) => Vec::<PolicyRule>::deserialize(rules).map_err(|e| e.to_string())?,
            };
            let resource = &write.resource.plural;
            escalation::check_role(authorizer, user, resource, namespace, write.name, &rules)
        }
        RbacKind::ClusterRoleBinding | RbacKind::RoleBinding => {
            let role = RoleRef::deserialize(&object["roleRef"]).map_err(|e| e.to_string())?;
            escalation::check_binding(authorizer, user, namespace, &role)
        }
    }
}
