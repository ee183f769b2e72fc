use serde_json::json;

use super::*;
use crate::authz::Resource;

fn binding(name: &str, namespace: &str, role: (&str, &str), subject: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": role.0, "name": role.1},
        "subjects": [subject],
    })
}

fn cluster() -> Rbac {
    let mut rbac = Rbac::default();
    let read = json!({"metadata": {"name": "read"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    let health = json!({"metadata": {"name": "health"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/livez"]}]});
    let write = json!({"metadata": {"name": "write", "namespace": "a"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    rbac.apply(RbacKind::ClusterRole, &read).unwrap();
    rbac.apply(RbacKind::ClusterRole, &health).unwrap();
    rbac.apply(RbacKind::Role, &write).unwrap();
    let bindings = [
        (
            RbacKind::ClusterRoleBinding,
            binding(
                "everyone",
                "",
                ("ClusterRole", "health"),
                &json!({"kind": "Group", "name": "system:authenticated"}),
            ),
        ),
        (
            RbacKind::ClusterRoleBinding,
            binding(
                "jane-reads",
                "",
                ("ClusterRole", "read"),
                &json!({"kind": "User", "name": "jane"}),
            ),
        ),
        (
            RbacKind::RoleBinding,
            binding(
                "bot-writes",
                "a",
                ("Role", "write"),
                &json!({"kind": "ServiceAccount", "name": "bot"}),
            ),
        ),
        (
            RbacKind::RoleBinding,
            binding(
                "ops-read",
                "b",
                ("ClusterRole", "read"),
                &json!({"kind": "Group", "name": "ops"}),
            ),
        ),
        (
            RbacKind::RoleBinding,
            binding("lost", "b", ("Role", "gone"), &json!({"kind": "User", "name": "lost"})),
        ),
    ];
    for (kind, object) in bindings {
        rbac.apply(kind, &object).unwrap();
    }
    rbac
}

fn ask(rbac: &Rbac, user: &UserInfo, verb: &str, resource: &str, namespace: &str) -> Decision {
    let resource = Resource { resource, namespace, ..Resource::default() };
    rbac.authorize(&Attributes { user, verb, target: Target::Resource(resource) })
}

#[test]
fn decisions_and_reasons_are_upstreams() {
    let rbac = cluster();
    let jane = UserInfo::new("jane", &["system:authenticated"]);
    let ops = UserInfo::new("olaf", &["ops"]);
    let bot = UserInfo::new("system:serviceaccount:a:bot", &[]);
    let lost = UserInfo::new("lost", &[]);
    let allowed = |text: &str| Decision::Allow(format!("RBAC: allowed by {text}"));
    let unknown = |text: &str| Decision::NoOpinion(text.to_owned());
    let cases = [
        (
            &jane,
            "get",
            "",
            allowed(r#"ClusterRoleBinding "jane-reads" of ClusterRole "read" to User "jane""#),
        ),
        (
            &jane,
            "get",
            "b",
            allowed(r#"ClusterRoleBinding "jane-reads" of ClusterRole "read" to User "jane""#),
        ),
        (&jane, "delete", "b", unknown("")),
        (
            &ops,
            "get",
            "b",
            allowed(r#"RoleBinding "ops-read/b" of ClusterRole "read" to Group "ops""#),
        ),
        (&ops, "get", "a", unknown("")),
        (&ops, "get", "", unknown("")),
        (
            &bot,
            "delete",
            "a",
            allowed(r#"RoleBinding "bot-writes/a" of Role "write" to ServiceAccount "bot/a""#),
        ),
        (&bot, "delete", "b", unknown("")),
        (&lost, "get", "b", unknown(r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#)),
    ];
    for (user, verb, namespace, expected) in cases {
        assert_eq!(
            ask(&rbac, user, verb, "pods", namespace),
            expected,
            "{} {verb} {namespace}",
            user.name
        );
    }
    let target = Target::Path("/livez");
    let decision = rbac.authorize(&Attributes { user: &jane, verb: "get", target });
    assert_eq!(
        decision,
        allowed(
            r#"ClusterRoleBinding "everyone" of ClusterRole "health" to Group "system:authenticated""#
        )
    );
}

#[test]
fn what_is_changed_or_removed_grants_nothing_more() {
    let mut rbac = cluster();
    let jane = UserInfo::new("jane", &[]);
    let to_john = binding(
        "jane-reads",
        "",
        ("ClusterRole", "read"),
        &json!({"kind": "User", "name": "john"}),
    );
    rbac.apply(RbacKind::ClusterRoleBinding, &to_john).unwrap();
    assert!(!ask(&rbac, &jane, "get", "pods", "").is_allowed());
    let john = UserInfo::new("john", &[]);
    assert!(ask(&rbac, &john, "get", "pods", "").is_allowed());
    rbac.remove(RbacKind::ClusterRoleBinding, "", "jane-reads");
    assert_eq!(ask(&rbac, &john, "get", "pods", ""), Decision::NoOpinion(String::new()));
    rbac.remove(RbacKind::Role, "a", "write");
    let bot = UserInfo::new("system:serviceaccount:a:bot", &[]);
    assert!(!ask(&rbac, &bot, "get", "pods", "a").is_allowed());
}

#[test]
fn a_users_rules_are_those_of_all_its_bindings() {
    let rbac = cluster();
    let user = UserInfo::new("lost", &["ops", "system:authenticated"]);
    let (rules, problems) = rbac.rules_for(&user, "b");
    assert_eq!(rules.len(), 2);
    assert_eq!(problems, [r#"role.rbac.authorization.k8s.io "gone" not found"#]);
    assert_eq!(rbac.rules_for(&user, "").0.len(), 1);
}
