use base64::Engine as _;
use serde_json::json;

use super::*;
use crate::pki::{PrivateKey, Request, Subject};

struct Objects;

impl Lookup for Objects {
    fn pod(&self, _: &str, name: &str) -> Option<PodFacts> {
        let pod = match name {
            "mine" => json!({
                "metadata": {"uid": "mine-uid"},
                "spec": {"nodeName": "n1", "volumes": [{"projected": {"sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"serviceAccountToken": {"audience": "vault"}},
                ]}}]},
            }),
            "other" => json!({"metadata": {"uid": "other-uid"}, "spec": {"nodeName": "n2"}}),
            _ => return None,
        };
        Some(PodFacts::of(&pod))
    }

    fn node_uid(&self, name: &str) -> Option<String> {
        (name == "n1").then(|| "n1-uid".to_owned())
    }
}

fn verdict(operation: Operation, what: &str, name: &str, object: &Value, old: &Value) -> String {
    let user = UserInfo::new("system:node:n1", &["system:nodes"]);
    let (group, path) = what.split_once(' ').unwrap_or(("", what));
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let resource =
        Resource { group, resource, subresource, namespace, name, ..Resource::default() };
    let write = Write { user: &user, operation, resource, object: Some(object), old: Some(old) };
    admit(&write, &Objects, &Authorizer::default()).map_or_else(|e| e.to_string(), |()| "ok".into())
}

use Operation::{Create, Delete, Update};

#[test]
fn a_node_changes_itself_within_limits() {
    let none = json!({});
    let node = |labels: Value| json!({"metadata": {"name": "n1", "labels": labels}});
    let tainted = json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a"}]}});
    let cases = [
        (
            Create,
            "n1",
            node(json!({"kubernetes.io/hostname": "n1", "mine": "1"})),
            none.clone(),
            "ok",
        ),
        (
            Create,
            "n1",
            node(json!({"node-role.kubernetes.io/x": "", "a.k8s.io/b": ""})),
            none.clone(),
            r#"node "n1" is not allowed to set the following labels: a.k8s.io/b, node-role.kubernetes.io/x"#,
        ),
        (
            Create,
            "n2",
            node(json!({})),
            none.clone(),
            r#"node "n1" is not allowed to modify node "n2""#,
        ),
        (Update, "n1", node(json!({"x.node.kubernetes.io/a": "1"})), node(json!({})), "ok"),
        (
            Update,
            "n1",
            node(json!({"node-restriction.kubernetes.io/a": "2"})),
            node(json!({"node-restriction.kubernetes.io/a": "1"})),
            "is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (
            Update,
            "n1",
            node(json!({"node-role.kubernetes.io/x": ""})),
            node(json!({"node-role.kubernetes.io/x": ""})),
            "ok",
        ),
        (Update, "n1", none, tainted, r#"node "n1" is not allowed to modify taints"#),
    ];
    for (operation, name, object, old, expected) in cases {
        assert_eq!(verdict(operation, "nodes", name, &object, &old), expected, "{object}");
    }
}

fn mirror() -> Value {
    json!({
        "metadata": {
            "name": "static-n1",
            "annotations": {"kubernetes.io/config.mirror": "hash"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1-uid", "controller": true}],
        },
        "spec": {"nodeName": "n1", "volumes": [{"hostPath": {"path": "/"}}]},
    })
}

#[test]
fn a_node_creates_mirror_pods_alone() {
    let create = |pod: &Value| verdict(Create, "pods", "a/", pod, &json!({}));
    assert_eq!(create(&mirror()), "ok");
    let cases = [
        (
            "/metadata/annotations",
            json!({}),
            r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#,
        ),
        (
            "/spec/nodeName",
            json!("n2"),
            r#"node "n1" can only create pods with spec.nodeName set to itself"#,
        ),
        (
            "/metadata/ownerReferences",
            json!([]),
            r#"node "n1" can only create pods with an owner reference set to itself"#,
        ),
        (
            "/metadata/ownerReferences/0/uid",
            json!("old"),
            "node n1 UID mismatch: expected old got n1-uid",
        ),
        (
            "/metadata/ownerReferences/0/controller",
            json!(false),
            r#"node "n1" can only create pods with a controller owner reference set to itself"#,
        ),
        (
            "/spec/volumes",
            json!([{"secret": {"secretName": "s"}}]),
            r#"node "n1" can not create pods that reference secrets"#,
        ),
        (
            "/spec/volumes",
            json!([{"projected": {"sources": [{"serviceAccountToken": {}}]}}]),
            r#"node "n1" can not create pods that reference serviceaccounts (via projected volumes)"#,
        ),
    ];
    for (pointer, value, expected) in cases {
        let mut pod = mirror();
        *pod.pointer_mut(pointer).unwrap() = value;
        assert_eq!(create(&pod), expected, "{pointer}");
    }
}

#[test]
fn a_node_touches_its_own_pods_alone() {
    let none = json!({});
    let pod = |node: &str, label: &str| json!({"metadata": {"labels": {"a": label}}, "spec": {"nodeName": node}});
    let cases = [
        (Delete, "pods", "a/mine", none.clone(), none.clone(), "ok"),
        (
            Delete,
            "pods",
            "a/other",
            none.clone(),
            none.clone(),
            r#"node "n1" can only delete pods with spec.nodeName set to itself"#,
        ),
        (Delete, "pods", "a/gone", none.clone(), none.clone(), r#"pods "gone" not found"#),
        (Update, "pods/status", "a/mine", pod("n1", "1"), pod("n1", "1"), "ok"),
        (
            Update,
            "pods/status",
            "a/mine",
            pod("n1", "2"),
            pod("n1", "1"),
            r#"node "n1" cannot update labels through pod status"#,
        ),
        (
            Update,
            "pods/status",
            "a/other",
            pod("n2", "1"),
            pod("n2", "1"),
            r#"node "n1" can only update pod status for pods with spec.nodeName set to itself"#,
        ),
        (Create, "pods/eviction", "a/mine", none.clone(), none.clone(), "ok"),
        (
            Create,
            "pods/eviction",
            "a/other",
            none.clone(),
            none.clone(),
            "node n1 can only evict pods with spec.nodeName set to itself",
        ),
        (
            Create,
            "pods/exec",
            "a/mine",
            none.clone(),
            none,
            "unexpected pod subresource \"exec\", only 'status' and 'eviction' are allowed",
        ),
    ];
    for (operation, what, name, object, old, expected) in cases {
        assert_eq!(
            verdict(operation, what, name, &object, &old),
            expected,
            "{operation:?} {what} {name}"
        );
    }
}

#[test]
fn tokens_are_for_pods_of_the_node_and_audiences_they_ask_for() {
    let request = |name: &str, uid: &str, audiences: Value| {
        json!({"spec": {
            "audiences": audiences,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid},
        }})
    };
    let cases = [
        (request("mine", "mine-uid", json!([])), "ok"),
        (request("mine", "mine-uid", json!(["vault"])), "ok"),
        (
            request("mine", "mine-uid", json!(["else"])),
            r#"system:node:n1 is not authorized to request tokens for audience "else""#,
        ),
        (
            request("mine", "mine-uid", json!(["vault", "x"])),
            "node may only request 0 or 1 audiences",
        ),
        (request("mine", "", json!([])), "node requested token with a pod binding without a uid"),
        (
            request("other", "other-uid", json!([])),
            "node requested token bound to a pod scheduled on a different node",
        ),
        (request("gone", "gone-uid", json!([])), r#"pods "gone" not found"#),
        (json!({"spec": {}}), "node requested token not bound to a pod"),
    ];
    for (object, expected) in cases {
        assert_eq!(
            verdict(Create, "serviceaccounts/token", "a/web", &object, &json!({})),
            expected,
            "{object}"
        );
    }
}

#[test]
fn leases_slices_and_csi_nodes_carry_the_nodes_name() {
    let none = json!({});
    let named = |name: &str| json!({"metadata": {"name": name}});
    let lease = "coordination.k8s.io leases";
    let slice = |node: &str| json!({"spec": {"nodeName": node}});
    let cases = [
        (Create, lease, "kube-node-lease/", named("n1"), none.clone(), "ok"),
        (
            Create,
            lease,
            "kube-node-lease/",
            named("n2"),
            none.clone(),
            "can only access node lease with the same name as the requesting node",
        ),
        (Update, lease, "kube-node-lease/n1", none.clone(), none.clone(), "ok"),
        (
            Create,
            lease,
            "a/",
            named("n1"),
            none.clone(),
            r#"can only access leases in the "kube-node-lease" system namespace"#,
        ),
        (
            Create,
            "storage.k8s.io csinodes",
            "",
            named("n2"),
            none.clone(),
            "can only access CSINode with the same name as the requesting node",
        ),
        (Create, "resource.k8s.io resourceslices", "", slice("n1"), none.clone(), "ok"),
        (
            Delete,
            "resource.k8s.io resourceslices",
            "x",
            none.clone(),
            slice("n2"),
            "can only delete ResourceSlice with the same NodeName as the requesting node",
        ),
        (
            Update,
            "persistentvolumeclaims/status",
            "a/c",
            json!({"status": {"capacity": 1}}),
            json!({"status": {}}),
            "ok",
        ),
        (
            Update,
            "persistentvolumeclaims/status",
            "a/c",
            json!({"metadata": {"labels": {"a": "b"}}}),
            none,
            r#"node "n1" is not allowed to update fields other than status.quantity and status.conditions"#,
        ),
    ];
    for (operation, what, name, object, old, expected) in cases {
        assert_eq!(
            verdict(operation, what, name, &object, &old),
            expected,
            "{operation:?} {what} {name}"
        );
    }
}

#[test]
fn certificates_are_asked_for_in_the_own_name() {
    let key = PrivateKey::generate().unwrap();
    for (node, expected) in
        [("n1", "ok"), ("n2", "can only create a node CSR with CN=system:node:n1")]
    {
        let pem = Request::create(&Subject::node(node), &[], &key).unwrap();
        let request = base64::engine::general_purpose::STANDARD.encode(pem);
        let object =
            json!({"spec": {"signerName": "kubernetes.io/kubelet-serving", "request": request}});
        let what = "certificates.k8s.io certificatesigningrequests";
        assert_eq!(verdict(Create, what, "", &object, &json!({})), expected, "{node}");
    }
}

#[test]
fn others_than_nodes_pass() {
    let user = UserInfo::new("jane", &[]);
    let resource = Resource { resource: "pods", subresource: "exec", ..Resource::default() };
    let write = Write { user: &user, operation: Create, resource, object: None, old: None };
    assert_eq!(admit(&write, &Objects, &Authorizer::default()), Ok(()));
}
