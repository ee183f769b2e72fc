//! The roles and bindings every cluster begins with: upstream's defaults, and what joining nodes
//! need. `data/README.md` says where they come from.

use serde_json::{Map, Value, json};

use crate::authz::escalation::uncovered;
use crate::authz::{PolicyRule, RbacKind};

const UPSTREAM: &str = include_str!("../data/upstream.jsonl");
const SKEP: &str = include_str!("../data/skep.jsonl");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// One object of the default policy.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultObject {
    /// Its kind.
    pub kind: RbacKind,
    /// Its namespace; empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole object, as it is to be created.
    pub object: Value,
}

impl DefaultObject {
    /// The resource it is served as.
    pub fn resource(&self) -> &'static str {
        self.kind.resource()
    }
}

/// All of them: roles before the bindings that name them.
pub fn defaults() -> Vec<DefaultObject> {
    let mut all: Vec<_> = UPSTREAM.lines().chain(SKEP.lines()).map(complete).collect();
    all.sort_by_key(|object| object.kind);
    all
}

/// What every node may do that the Node authorizer does not divide between nodes.
pub fn node_rules() -> Vec<PolicyRule> {
    let node = defaults().into_iter().find(|default| default.name == "system:node");
    let rules = node.map(|node| rules(&node.object)).unwrap_or_default();
    rules.unwrap_or_default()
}

/// An object from its line: the parts that all of them share are put back.
fn complete(line: &str) -> DefaultObject {
    let mut object: Value =
        serde_json::from_str(line).expect("the checked-in policy is JSON: a test reads it");
    let kind = object["kind"]
        .as_str()
        .and_then(RbacKind::of_kind)
        .expect("the checked-in policy has RBAC kinds alone");
    object["apiVersion"] = format!("{GROUP}/v1").into();
    object["metadata"]["labels"]["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
    object["metadata"]["annotations"] = json!({AUTOUPDATE: "true"});
    if let Some(role) = object.get_mut("roleRef") {
        role["apiGroup"] = GROUP.into();
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        if subject["kind"] != "ServiceAccount" {
            subject["apiGroup"] = GROUP.into();
        }
    }
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    DefaultObject { kind, namespace: text("namespace"), name: text("name"), object }
}

/// What a start of the API server does about a default that is already there: `None` to leave it,
/// or the object to write instead. Missing rules and subjects are added, nothing is taken away,
/// and an object whose `autoupdate` annotation is not `true` is its owner's business. A binding to
/// another role is left as it is too: its role cannot be changed, only the whole be replaced.
pub fn reconcile(stored: &Value, default: &DefaultObject) -> Option<Value> {
    let annotation = stored["metadata"]["annotations"][AUTOUPDATE].as_str();
    if annotation != Some("true") {
        return None;
    }
    let mut wanted = stored.clone();
    match default.kind {
        RbacKind::ClusterRole | RbacKind::Role => add_rules(&mut wanted, &default.object)?,
        RbacKind::ClusterRoleBinding | RbacKind::RoleBinding => {
            add_subjects(&mut wanted, &default.object);
        }
    }
    for part in ["labels", "annotations"] {
        add_missing(&mut wanted["metadata"][part], &default.object["metadata"][part]);
    }
    (wanted != *stored).then_some(wanted)
}

fn rules(role: &Value) -> Option<Vec<PolicyRule>> {
    match role.get("rules") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(rules) => serde_json::from_value(rules.clone()).ok(),
    }
}

/// An aggregated role's rules are a controller's work; only its selectors are completed.
fn add_rules(stored: &mut Value, default: &Value) -> Option<()> {
    if let Some(aggregation) = default.get("aggregationRule") {
        if stored.get("aggregationRule").is_none_or(Value::is_null) {
            stored["aggregationRule"] = aggregation.clone();
        }
        return Some(());
    }
    let (mut own, wanted) = (rules(stored)?, rules(default)?);
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|rule| !uncovered(&own, std::slice::from_ref(rule)).is_empty())
        .collect();
    if !missing.is_empty() {
        own.extend(missing);
        stored["rules"] = serde_json::to_value(own).ok()?;
    }
    Some(())
}

fn add_subjects(stored: &mut Value, default: &Value) {
    if stored["roleRef"]["name"] != default["roleRef"]["name"] {
        return;
    }
    let mut subjects = stored["subjects"].as_array().cloned().unwrap_or_default();
    let before = subjects.len();
    let same = |a: &Value, b: &Value| {
        ["kind", "name", "namespace"].iter().all(|field| a[field] == b[field])
    };
    for wanted in default["subjects"].as_array().into_iter().flatten() {
        if !subjects.iter().any(|own| same(own, wanted)) {
            subjects.push(wanted.clone());
        }
    }
    if subjects.len() != before {
        stored["subjects"] = subjects.into();
    }
}

fn add_missing(stored: &mut Value, default: &Value) {
    let Some(default) = default.as_object() else { return };
    if !stored.is_object() {
        *stored = Value::Object(Map::new());
    }
    for (key, value) in default {
        if stored.get(key).is_none() {
            stored[key] = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::authn::UserInfo;
    use crate::authz::{Attributes, Authorizer, NodeGraph, Rbac, Resource, Target};

    fn rbac() -> Rbac {
        let mut rbac = Rbac::default();
        for default in defaults() {
            rbac.apply(default.kind, &default.object).unwrap();
        }
        rbac
    }

    #[test]
    fn every_line_loads_and_every_binding_finds_its_role() {
        let all = defaults();
        let mut counts = BTreeMap::new();
        for default in &all {
            *counts.entry(default.resource()).or_insert(0) += 1;
        }
        let expected = BTreeMap::from([
            ("clusterroles", 74),
            ("clusterrolebindings", 101),
            ("roles", 7),
            ("rolebindings", 7),
        ]);
        assert_eq!(counts, expected);
        let roles: BTreeSet<_> =
            all.iter().map(|d| (d.namespace.as_str(), d.name.as_str())).collect();
        for default in all.iter().filter(|d| d.object.get("roleRef").is_some()) {
            let role = default.object["roleRef"]["name"].as_str().unwrap();
            let namespace = if default.object["roleRef"]["kind"] == "Role" {
                default.namespace.as_str()
            } else {
                ""
            };
            assert!(roles.contains(&(namespace, role)), "{}: {role}", default.name);
        }
    }

    #[test]
    fn objects_are_complete() {
        let admin = defaults().into_iter().find(|default| default.name == "cluster-admin").unwrap();
        assert_eq!(admin.object["apiVersion"], "rbac.authorization.k8s.io/v1");
        let binding =
            defaults().into_iter().rfind(|default| default.name == "cluster-admin").unwrap();
        assert_eq!(
            binding.object,
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {
                    "name": "cluster-admin",
                    "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
                    "annotations": {AUTOUPDATE: "true"},
                },
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": "system:masters"}],
            })
        );
    }

    #[test]
    fn the_defaults_let_each_component_do_its_work() {
        let authorizer = Authorizer { rbac: rbac(), nodes: NodeGraph::new(node_rules()) };
        let scheduler = UserInfo::new("system:kube-scheduler", &["system:authenticated"]);
        let joining = UserInfo::new(
            "system:bootstrap:abcdef",
            &[
                "system:bootstrappers",
                "system:bootstrappers:kubeadm:default-node-token",
                "system:authenticated",
            ],
        );
        let node = UserInfo::new("system:node:n1", &["system:nodes", "system:authenticated"]);
        let anonymous = UserInfo::anonymous();
        let kubelet_client =
            UserInfo::new("kube-apiserver-kubelet-client", &["system:authenticated"]);
        let cases = [
            (&scheduler, "create", "", "pods/binding", "default", true),
            (&scheduler, "delete", "", "nodes", "", false),
            (&joining, "create", "certificates.k8s.io", "certificatesigningrequests", "", true),
            (
                &joining,
                "create",
                "certificates.k8s.io",
                "certificatesigningrequests/nodeclient",
                "",
                true,
            ),
            (&joining, "list", "", "nodes", "", false),
            (&node, "watch", "", "services", "", true),
            (&node, "watch", "", "nodes", "", true),
            (&node, "watch", "discovery.k8s.io", "endpointslices", "", true),
            (&node, "create", "", "events", "default", true),
            (
                &node,
                "create",
                "certificates.k8s.io",
                "certificatesigningrequests/selfnodeclient",
                "",
                true,
            ),
            (&node, "list", "", "secrets", "", false),
            (&kubelet_client, "create", "", "nodes/proxy", "", true),
            (&anonymous, "list", "", "pods", "default", false),
            (&anonymous, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", false),
            (&scheduler, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", true),
        ];
        for (user, verb, group, path, namespace, allowed) in cases {
            let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
            let target = Target::Resource(Resource {
                group,
                resource,
                subresource,
                namespace,
                ..Resource::default()
            });
            let attributes = Attributes { user, verb, target };
            assert_eq!(authorizer.authorize(&attributes).is_allowed(), allowed, "{attributes}");
        }
        for (path, allowed) in
            [("/version", true), ("/livez", true), ("/metrics", false), ("/api", false)]
        {
            let attributes =
                Attributes { user: &anonymous, verb: "get", target: Target::Path(path) };
            assert_eq!(authorizer.authorize(&attributes).is_allowed(), allowed, "{path}");
        }
    }

    fn default(name: &str, kind: RbacKind) -> DefaultObject {
        defaults().into_iter().find(|default| default.name == name && default.kind == kind).unwrap()
    }

    #[test]
    fn what_is_there_is_left_and_what_is_missing_comes_back() {
        let role = default("system:kube-dns", RbacKind::ClusterRole);
        assert_eq!(reconcile(&role.object, &role), None);

        let mut emptied = role.object.clone();
        emptied["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        let repaired = reconcile(&emptied, &role).unwrap();
        assert_eq!(repaired["rules"].as_array().unwrap().len(), 2, "own rules stay: {repaired}");

        emptied["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconcile(&emptied, &role), None);
    }

    #[test]
    fn subjects_come_back_and_additional_ones_stay() {
        let binding = default("system:discovery", RbacKind::ClusterRoleBinding);
        let mut changed = binding.object.clone();
        changed["subjects"] = json!([{"kind": "User", "name": "extra", "apiGroup": GROUP}]);
        let repaired = reconcile(&changed, &binding).unwrap();
        assert_eq!(repaired["subjects"].as_array().unwrap().len(), 2);
        changed["roleRef"]["name"] = "other".into();
        assert_eq!(reconcile(&changed, &binding), None);
    }

    #[test]
    fn aggregated_rules_are_left_to_their_controller() {
        let admin = default("admin", RbacKind::ClusterRole);
        let mut filled = admin.object.clone();
        filled["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        assert_eq!(reconcile(&filled, &admin), None);
    }
}
