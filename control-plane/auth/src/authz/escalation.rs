//! Nobody hands out what they do not have: the check before a role or binding is written.

use std::collections::{BTreeMap, BTreeSet};

use super::rbac::RoleRef;
use super::rule::{PolicyRule, covers_url, quoted};
use super::{Attributes, Authorizer, Resource, Target};
use crate::authn::UserInfo;
use crate::authn::user::MASTERS;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether `user` may write a role with `rules`. `resource` is `roles` or `clusterroles`;
/// `namespace` is empty for the latter. The error is the message of the 403.
pub fn check_role(
    authorizer: &Authorizer,
    user: &UserInfo,
    resource: &str,
    namespace: &str,
    name: &str,
    rules: &[PolicyRule],
) -> Result<(), String> {
    let escalate =
        Resource { group: GROUP, version: "*", resource, namespace, name, ..Resource::default() };
    let attributes = Attributes { user, verb: "escalate", target: Target::Resource(escalate) };
    if user.is_in(MASTERS) || authorizer.authorize(&attributes).is_allowed() {
        return Ok(());
    }
    confirm(authorizer, user, namespace, rules)
}

/// Whether `user` may bind `role` in `namespace` (empty: everywhere). The error is the message of
/// the 403, or says that there is no such role.
pub fn check_binding(
    authorizer: &Authorizer,
    user: &UserInfo,
    namespace: &str,
    role: &RoleRef,
) -> Result<(), String> {
    let resource = if role.kind == "Role" { "roles" } else { "clusterroles" };
    let bind = Resource {
        group: GROUP,
        version: "*",
        resource,
        namespace,
        name: &role.name,
        ..Resource::default()
    };
    let attributes = Attributes { user, verb: "bind", target: Target::Resource(bind) };
    if user.is_in(MASTERS) || authorizer.authorize(&attributes).is_allowed() {
        return Ok(());
    }
    confirm(authorizer, user, namespace, authorizer.rbac.rules_of(role, namespace)?)
}

fn confirm(
    authorizer: &Authorizer,
    user: &UserInfo,
    namespace: &str,
    rules: &[PolicyRule],
) -> Result<(), String> {
    let (own, problems) = authorizer.rbac.rules_for(user, namespace);
    let missing = uncovered(&own, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<_> = compact(missing).iter().map(ToString::to_string).collect();
    let lines: Vec<_> = lines.into_iter().collect();
    let mut message = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(&user.groups),
        lines.join("\n")
    );
    if !problems.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", problems.join(", ")));
    }
    Err(message)
}

/// The parts of `wanted`, one verb and one thing each, that no rule of `own` covers.
pub(crate) fn uncovered(own: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let parts = wanted.iter().flat_map(break_down);
    parts.filter(|part| !own.iter().any(|rule| covers(rule, part))).collect()
}

fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |text: &String| vec![text.clone()];
    let names: Vec<Vec<String>> = match rule.resource_names.as_slice() {
        [] => vec![Vec::new()],
        names => names.iter().map(one).collect(),
    };
    let mut parts = Vec::new();
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                parts.extend(names.iter().map(|names| PolicyRule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: names.clone(),
                    non_resource_urls: Vec::new(),
                }));
            }
        }
        parts.extend(rule.non_resource_urls.iter().map(|url| PolicyRule {
            verbs: one(verb),
            non_resource_urls: one(url),
            ..PolicyRule::default()
        }));
    }
    parts
}

/// Whether `own` covers `part`, which has at most one of everything.
fn covers(own: &PolicyRule, part: &PolicyRule) -> bool {
    let all = |own: &[String], part: &[String]| {
        own.iter().any(|item| item == "*") || part.iter().all(|item| own.contains(item))
    };
    let resource = |wanted: &String| {
        own.resources.iter().any(|own| match own.strip_prefix("*/") {
            _ if own == "*" || own == wanted => true,
            Some(subresource) => wanted.split_once('/').is_some_and(|(_, sub)| sub == subresource),
            None => false,
        })
    };
    all(&own.verbs, &part.verbs)
        && all(&own.api_groups, &part.api_groups)
        && part.resources.iter().all(resource)
        && part
            .non_resource_urls
            .iter()
            .all(|url| own.non_resource_urls.iter().any(|own| covers_url(own, url)))
        && (own.resource_names.is_empty()
            || (!part.resource_names.is_empty()
                && part.resource_names.iter().all(|name| own.resource_names.contains(name))))
}

/// Joins parts that differ in their verb alone.
fn compact(parts: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut joined: BTreeMap<PolicyRule, Vec<String>> = BTreeMap::new();
    let mut rest = Vec::new();
    for mut part in parts {
        if part.resources.is_empty() {
            rest.push(part);
            continue;
        }
        let verbs = std::mem::take(&mut part.verbs);
        joined.entry(part).or_default().extend(verbs);
    }
    rest.extend(joined.into_iter().map(|(rule, verbs)| PolicyRule { verbs, ..rule }));
    rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::authz::RbacKind;

    fn rule(value: Value) -> PolicyRule {
        serde_json::from_value(value).unwrap()
    }

    fn authorizer(own: &Value) -> Authorizer {
        let mut authorizer = Authorizer::default();
        let role = json!({"metadata": {"name": "own"}, "rules": [own]});
        let binding = json!({
            "metadata": {"name": "own"},
            "roleRef": {"kind": "ClusterRole", "name": "own"},
            "subjects": [{"kind": "User", "name": "jane"}],
        });
        authorizer.rbac.apply(RbacKind::ClusterRole, &role).unwrap();
        authorizer.rbac.apply(RbacKind::ClusterRoleBinding, &binding).unwrap();
        authorizer
    }

    #[test]
    fn only_held_permissions_can_be_granted() {
        let pods =
            |verbs: &[&str]| json!({"verbs": verbs, "apiGroups": [""], "resources": ["pods"]});
        let cases = [
            (pods(&["get", "list"]), pods(&["get"]), true),
            (pods(&["get"]), pods(&["get", "list"]), false),
            (pods(&["*"]), pods(&["get", "list"]), true),
            (pods(&["get"]), pods(&["*"]), false),
            (
                json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"]}),
                pods(&["get"]),
                true,
            ),
            (
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]}),
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}),
                true,
            ),
            (
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
                pods(&["get"]),
                false,
            ),
            (
                pods(&["get"]),
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
                true,
            ),
            (
                json!({"verbs": ["get"], "nonResourceURLs": ["/api*"]}),
                json!({"verbs": ["get"], "nonResourceURLs": ["/apis/apps"]}),
                true,
            ),
            (
                json!({"verbs": ["get"], "nonResourceURLs": ["/api"]}),
                json!({"verbs": ["get"], "nonResourceURLs": ["*"]}),
                false,
            ),
        ];
        let jane = UserInfo::new("jane", &["dev"]);
        for (own, wanted, allowed) in cases {
            let checked =
                check_role(&authorizer(&own), &jane, "roles", "a", "r", &[rule(wanted.clone())]);
            assert_eq!(checked.is_ok(), allowed, "{own} {wanted}");
        }
    }

    #[test]
    fn the_refusal_names_what_is_missing() {
        let authorizer =
            authorizer(&json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        let wanted = rule(
            json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "secrets"]}),
        );
        let jane = UserInfo::new("jane", &["dev", "system:authenticated"]);
        let refused =
            check_role(&authorizer, &jane, "clusterroles", "", "r", &[wanted]).unwrap_err();
        let expected = [
            r#"user "jane" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:"#,
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]}"#,
        ];
        assert_eq!(refused, expected.join("\n"));
    }

    #[test]
    fn escalate_bind_and_masters_pass() {
        let wanted = [rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}))];
        let role = RoleRef { kind: "ClusterRole".into(), name: "own".into() };
        let jane = UserInfo::new("jane", &[]);
        let escalate = authorizer(
            &json!({"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"]}),
        );
        assert!(check_role(&escalate, &jane, "roles", "a", "r", &wanted).is_ok());
        assert!(check_role(&escalate, &jane, "clusterroles", "", "r", &wanted).is_err());
        let bind = authorizer(
            &json!({"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["own"]}),
        );
        assert!(check_binding(&bind, &jane, "a", &role).is_ok());
        let john = UserInfo::new("john", &[]);
        assert!(check_binding(&bind, &john, "a", &role).is_err());
        assert!(check_binding(&bind, &UserInfo::new("root", &[MASTERS]), "", &role).is_ok());
        let gone = RoleRef { kind: "Role".into(), name: "gone".into() };
        let refused = check_binding(&bind, &jane, "a", &gone).unwrap_err();
        assert_eq!(refused, r#"role.rbac.authorization.k8s.io "gone" not found"#);
    }
}
