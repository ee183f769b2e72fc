//! What a kubelet may do: its own objects, and what the pods on its node use.

mod graph;

pub use graph::{GraphKind, NodeGraph};
pub(super) use graph::{Used, references};

use super::rule::PolicyRule;
use super::{Attributes, Decision, Resource, Target};

fn allow() -> Decision {
    Decision::Allow(String::new())
}

fn refuse(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

impl NodeGraph {
    /// The Node authorizer. Says nothing about requests of others than kubelets. What is not
    /// divided between nodes follows the rules given to [`NodeGraph::new`].
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let Some(node) = attributes.user.node_name() else {
            return refuse("");
        };
        if node.is_empty() {
            return refuse(format!("unknown node for user {:?}", attributes.user.name));
        }
        if let Target::Resource(wanted) = &attributes.target {
            let request = Request { graph: self, node, verb: attributes.verb, wanted };
            if let Some(decision) = request.divided() {
                return decision;
            }
        }
        let allowed = self.rules().iter().any(|rule: &PolicyRule| rule.allows(attributes));
        if allowed { allow() } else { refuse("") }
    }
}

/// A kubelet's request for a resource.
struct Request<'a> {
    graph: &'a NodeGraph,
    node: &'a str,
    verb: &'a str,
    wanted: &'a Resource<'a>,
}

impl Request<'_> {
    /// The decision about resources that are divided between nodes.
    fn divided(&self) -> Option<Decision> {
        Some(match (self.wanted.group, self.wanted.resource) {
            ("", "secrets") => self.read(Used::Secret),
            ("", "configmaps") => self.read(Used::ConfigMap),
            ("", "persistentvolumeclaims") if self.wanted.subresource == "status" => {
                self.claim_status()
            }
            ("", "persistentvolumeclaims") => self.get(Used::Claim),
            ("", "persistentvolumes") => self.get(Used::Volume),
            ("resource.k8s.io", "resourceclaims") => self.get(Used::ResourceClaim),
            ("storage.k8s.io", "volumeattachments") => self.get(Used::Attachment),
            ("", "serviceaccounts") => self.service_account(),
            ("coordination.k8s.io", "leases") => self.lease(),
            ("storage.k8s.io", "csinodes") => self.csi_node(),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(),
            ("", "nodes") => self.node(),
            ("", "pods") => self.pod(),
            _ => return None,
        })
    }

    fn verb_in(&self, verbs: &[&str]) -> bool {
        verbs.contains(&self.verb)
    }

    fn related(&self, kind: Used) -> Decision {
        if self.wanted.name.is_empty() {
            return refuse("No Object name found");
        }
        if self.graph.uses(self.node, kind, self.wanted.namespace, self.wanted.name) {
            return allow();
        }
        refuse(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, kind: Used) -> Decision {
        if self.verb != "get" {
            return refuse("can only get individual resources of this type");
        }
        if !self.wanted.subresource.is_empty() {
            return refuse("cannot get subresource");
        }
        self.related(kind)
    }

    fn read(&self, kind: Used) -> Decision {
        if !self.verb_in(&["get", "list", "watch"]) {
            return refuse("can only read resources of this type");
        }
        if !self.wanted.subresource.is_empty() {
            return refuse("cannot read subresource");
        }
        if self.wanted.namespace.is_empty() {
            return refuse("can only read namespaced object of this type");
        }
        self.related(kind)
    }

    fn claim_status(&self) -> Decision {
        if !self.verb_in(&["update", "patch"]) {
            return refuse("can only get/update/patch this type");
        }
        self.related(Used::Claim)
    }

    fn service_account(&self) -> Decision {
        let Resource { subresource, name, .. } = *self.wanted;
        if self.verb == "get" && subresource.is_empty() {
            return self.read(Used::ServiceAccount);
        }
        if self.verb != "create" || name.is_empty() {
            return refuse("can only create tokens for individual service accounts");
        }
        if subresource != "token" {
            return refuse("can only create token subresource of serviceaccount");
        }
        self.related(Used::ServiceAccount)
    }

    /// The name of an object to be created is not known here; admission checks it.
    fn own(&self, what: &str) -> Decision {
        if self.verb != "create" && self.wanted.name != self.node {
            return refuse(format!(
                "can only access {what} with the same name as the requesting node"
            ));
        }
        allow()
    }

    fn lease(&self) -> Decision {
        if !self.verb_in(&["get", "create", "update", "patch", "delete"]) {
            return refuse("can only get, create, update, patch, or delete a node lease");
        }
        if self.wanted.namespace != "kube-node-lease" {
            return refuse(r#"can only access leases in the "kube-node-lease" system namespace"#);
        }
        self.own("node lease")
    }

    fn csi_node(&self) -> Decision {
        match self.wanted.subresource {
            "" if self.verb_in(&["get", "create", "update", "patch", "delete"]) => {
                self.own("CSINode")
            }
            "" => refuse("can only get, create, update, patch, or delete a CSINode"),
            _ => refuse("cannot authorize CSINode subresources"),
        }
    }

    fn resource_slice(&self) -> Decision {
        if !self.wanted.subresource.is_empty() {
            return refuse("cannot authorize ResourceSlice subresources");
        }
        match self.verb {
            "create" => allow(),
            "get" | "update" | "patch" | "delete" => self.related(Used::ResourceSlice),
            "watch" | "list" | "deletecollection"
                if self.wanted.selects("spec.nodeName", self.node) =>
            {
                allow()
            }
            "watch" | "list" | "deletecollection" => refuse(
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => refuse(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn node(&self) -> Decision {
        let (node, name) = (self.node, self.wanted.name);
        match (self.wanted.subresource, self.verb) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => allow(),
            ("", "get" | "list" | "watch") if name == node => allow(),
            ("", "get" | "list" | "watch") if name.is_empty() => {
                refuse(format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("", "get" | "list" | "watch") => {
                refuse(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
            _ => refuse(""),
        }
    }

    fn pod(&self) -> Decision {
        match (self.wanted.subresource, self.verb) {
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                allow()
            }
            ("", "get") => self.get(Used::Pod),
            ("", "list" | "watch") if self.wanted.selects("spec.nodeName", self.node) => allow(),
            ("", "list" | "watch") if !self.wanted.name.is_empty() => self.related(Used::Pod),
            ("", "list" | "watch") => {
                refuse("can only list/watch pods with spec.nodeName field selector")
            }
            _ => refuse(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authn::UserInfo;

    fn graph() -> NodeGraph {
        let rule: PolicyRule = serde_json::from_value(
            json!({"verbs": ["list"], "apiGroups": [""], "resources": ["services"]}),
        )
        .unwrap();
        let mut graph = NodeGraph::new(vec![rule]);
        let pod = json!({
            "metadata": {"name": "p", "namespace": "a"},
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": "web",
                "imagePullSecrets": [{"name": "pull"}],
                "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}]}],
                "containers": [{"envFrom": [{"configMapRef": {"name": "from"}}]}],
                "volumes": [
                    {"name": "s", "secret": {"secretName": "mounted"}},
                    {"name": "j", "projected": {"sources": [{"configMap": {"name": "root-ca"}}, {"secret": {"name": "proj"}}]}},
                    {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "e", "ephemeral": {}},
                ],
            },
        });
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "a", "name": "data"}}});
        graph.apply(GraphKind::Pod, &pod);
        graph.apply(GraphKind::PersistentVolume, &volume);
        graph.apply(
            GraphKind::VolumeAttachment,
            &json!({"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}}),
        );
        graph
    }

    fn ask(graph: &NodeGraph, node: &str, verb: &str, what: &str, name: &str) -> Decision {
        let user = UserInfo::new(format!("system:node:{node}"), &["system:nodes"]);
        let (group, path) = what.split_once(' ').unwrap_or(("", what));
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let wanted =
            Resource { group, resource, subresource, namespace, name, ..Resource::default() };
        graph.authorize(&Attributes { user: &user, verb, target: Target::Resource(wanted) })
    }

    #[test]
    fn a_node_reaches_what_its_pods_use_and_no_other_node_does() {
        let graph = graph();
        let cases = [
            ("get", "secrets", "a/pull"),
            ("watch", "secrets", "a/env"),
            ("list", "secrets", "a/mounted"),
            ("get", "secrets", "a/proj"),
            ("get", "configmaps", "a/from"),
            ("get", "configmaps", "a/root-ca"),
            ("get", "persistentvolumeclaims", "a/data"),
            ("patch", "persistentvolumeclaims/status", "a/data"),
            ("get", "persistentvolumeclaims", "a/p-e"),
            ("get", "persistentvolumes", "pv"),
            ("get", "storage.k8s.io volumeattachments", "va"),
            ("get", "serviceaccounts", "a/web"),
            ("create", "serviceaccounts/token", "a/web"),
            ("get", "pods", "a/p"),
        ];
        for (verb, what, name) in cases {
            assert_eq!(ask(&graph, "n1", verb, what, name), allow(), "{verb} {what} {name}");
            let other = ask(&graph, "n2", verb, what, name);
            assert_eq!(
                other.reason(),
                "no relationship found between node 'n2' and this object",
                "{verb} {what}"
            );
            assert!(!other.is_allowed());
        }
    }

    #[test]
    fn access_ends_with_the_pod() {
        let mut graph = graph();
        graph.remove(GraphKind::Pod, "a", "p");
        for (what, name) in [("secrets", "a/mounted"), ("persistentvolumes", "pv"), ("pods", "a/p")]
        {
            assert!(!ask(&graph, "n1", "get", what, name).is_allowed(), "{what}");
        }
    }

    #[test]
    fn a_mirror_pod_grants_nothing() {
        let mut graph = NodeGraph::default();
        let pod = json!({
            "metadata": {"name": "m", "namespace": "a", "annotations": {"kubernetes.io/config.mirror": "x"}},
            "spec": {"nodeName": "n1", "volumes": [{"secret": {"secretName": "loot"}}]},
        });
        graph.apply(GraphKind::Pod, &pod);
        assert!(ask(&graph, "n1", "get", "pods", "a/m").is_allowed());
        assert!(!ask(&graph, "n1", "get", "secrets", "a/loot").is_allowed());
    }

    #[test]
    fn a_node_manages_its_own_objects() {
        let graph = graph();
        let lease = "coordination.k8s.io leases";
        let cases = [
            ("get", "nodes", "n1", "allowed"),
            ("get", "nodes", "n2", "node 'n1' cannot read 'n2', only its own Node object"),
            ("list", "nodes", "", "node 'n1' cannot read all nodes, only its own Node object"),
            ("patch", "nodes/status", "n1", "allowed"),
            ("delete", "nodes", "n1", ""),
            ("update", lease, "kube-node-lease/n1", "allowed"),
            ("create", lease, "kube-node-lease/", "allowed"),
            (
                "get",
                lease,
                "kube-node-lease/n2",
                "can only access node lease with the same name as the requesting node",
            ),
            (
                "get",
                lease,
                "a/n1",
                r#"can only access leases in the "kube-node-lease" system namespace"#,
            ),
            (
                "list",
                lease,
                "kube-node-lease/n1",
                "can only get, create, update, patch, or delete a node lease",
            ),
            ("create", "storage.k8s.io csinodes", "", "allowed"),
            ("delete", "secrets", "a/mounted", "can only read resources of this type"),
            ("list", "secrets", "", "can only read namespaced object of this type"),
            ("list", "pods", "", "can only list/watch pods with spec.nodeName field selector"),
            ("patch", "pods/status", "a/other", "allowed"),
            ("create", "pods/exec", "a/p", ""),
            ("list", "services", "", "allowed"),
            ("delete", "services", "a/s", ""),
        ];
        for (verb, what, name, expected) in cases {
            let decision = ask(&graph, "n1", verb, what, name);
            let shown = if decision.is_allowed() { "allowed" } else { decision.reason() };
            assert_eq!(shown, expected, "{verb} {what} {name}");
        }
    }

    #[test]
    fn lists_of_pods_are_limited_to_the_node() {
        let graph = graph();
        let user = UserInfo::new("system:node:n1", &["system:nodes"]);
        for (node, allowed) in [("n1", true), ("n2", false)] {
            let fields = [("spec.nodeName", node)];
            let pods = Resource { resource: "pods", fields: &fields, ..Resource::default() };
            let attributes =
                Attributes { user: &user, verb: "watch", target: Target::Resource(pods) };
            assert_eq!(graph.authorize(&attributes).is_allowed(), allowed, "{node}");
        }
    }

    #[test]
    fn others_than_nodes_are_none_of_its_business() {
        let user = UserInfo::new("jane", &[]);
        let services = Resource { resource: "services", ..Resource::default() };
        let attributes =
            Attributes { user: &user, verb: "list", target: Target::Resource(services) };
        assert_eq!(graph().authorize(&attributes), refuse(""));
    }
}
