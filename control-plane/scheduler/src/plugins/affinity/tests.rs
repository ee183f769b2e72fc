use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;

fn pod(name: &str, namespace: &str, app: &str, affinity: impl Into<Value>) -> PodInfo {
    let affinity: Value = affinity.into();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "uid": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [], "affinity": affinity},
    }))
    .unwrap();
    PodInfo::new(&pod)
}

fn term(app: &str) -> Value {
    json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}})
}

fn near(app: &str) -> Value {
    json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(app)]}})
}

fn far(app: &str) -> Value {
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(app)]}})
}

/// Nodes `n1` and `n2` in zone a, `n3` in zone b, `n4` in none; the pods are on `n1`.
fn cluster(pods: Vec<PodInfo>) -> Cluster {
    let mut cluster = Cluster::default();
    for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "")] {
        let mut node = NodeInfo { name: name.into(), ..NodeInfo::default() };
        if !zone.is_empty() {
            node.labels.insert("zone".into(), zone.into());
        }
        cluster.set_node(node);
    }
    for pod in pods {
        cluster.assume(Arc::new(pod), "n1");
    }
    cluster
}

/// One letter per node: `.` fits, `n` not near, `f` not far, `e` unwanted by one that is there.
fn verdicts(pod: &PodInfo, cluster: &Cluster) -> String {
    let Some(filter) = InterPodAffinity.prepare(pod, cluster).unwrap() else {
        return "silent".into();
    };
    let letter =
        |node: &NodeInfo| match filter.check(node).err().map(|r| r.reasons[0].clone()).as_deref() {
            None => '.',
            Some(AFFINITY) => 'n',
            Some(ANTI_AFFINITY) => 'f',
            Some(EXISTING) => 'e',
            Some(other) => panic!("{other}"),
        };
    cluster.nodes().iter().map(letter).collect()
}

#[test]
fn required_terms_decide_by_domain() {
    let none = || json!({});
    let cases = [
        (
            "nothing to say",
            pod("p", "x", "web", none()),
            vec![pod("q", "x", "db", none())],
            "silent",
        ),
        (
            "near one that is there",
            pod("p", "x", "web", near("db")),
            vec![pod("q", "x", "db", none())],
            "..nn",
        ),
        ("near one that is not", pod("p", "x", "web", near("db")), vec![], "nnnn"),
        (
            "near one of another namespace",
            pod("p", "x", "web", near("db")),
            vec![pod("q", "y", "db", none())],
            "nnnn",
        ),
        ("the first of its group", pod("p", "x", "web", near("web")), vec![], "...n"),
        (
            "the second of its group",
            pod("p", "x", "web", near("web")),
            vec![pod("q", "x", "web", none())],
            "..nn",
        ),
        (
            "far from one that is there",
            pod("p", "x", "web", far("db")),
            vec![pod("q", "x", "db", none())],
            "ff..",
        ),
        ("unwanted", pod("p", "x", "web", none()), vec![pod("q", "x", "db", far("web"))], "ee.."),
        (
            "wanted by nobody in particular",
            pod("p", "x", "web", none()),
            vec![pod("q", "x", "db", far("db"))],
            "silent",
        ),
    ];
    for (what, pod, there, expected) in cases {
        assert_eq!(verdicts(&pod, &cluster(there)), expected, "{what}");
    }
}

#[test]
fn namespaces_can_be_selected_by_label() {
    let mut affinity = near("db");
    affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["namespaceSelector"] =
        json!({"matchLabels": {"team": "data"}});
    let pod_near = pod("p", "x", "web", affinity);
    let mut cluster = cluster(vec![pod("q", "y", "db", json!({}))]);
    assert_eq!(verdicts(&pod_near, &cluster), "nnnn");
    cluster.set_namespace("y".into(), Some([("team".to_owned(), "data".to_owned())].into()));
    assert_eq!(verdicts(&pod_near, &cluster), "..nn");
}

#[test]
fn trying_out_without_a_pod_lifts_its_objection() {
    let cluster = cluster(vec![pod("q", "x", "db", far("web"))]);
    let new = pod("p", "x", "web", json!({}));
    let mut filter = InterPodAffinity.prepare(&new, &cluster).unwrap().unwrap();
    let node = &cluster.nodes()[0];
    assert!(filter.check(node).is_err());
    filter.update(&node.pods[0], node, -1);
    assert!(filter.check(node).is_ok());
}

#[test]
fn preferences_of_both_sides_add_up() {
    let preferred = |kind: &str, app: &str| json!({kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "podAffinityTerm": term(app)}]}});
    let cases = [
        (
            pod("p", "x", "web", preferred("podAffinity", "db")),
            pod("q", "x", "db", json!({})),
            Some(vec![100, 100, 0, 0]),
        ),
        (
            pod("p", "x", "web", preferred("podAntiAffinity", "db")),
            pod("q", "x", "db", json!({})),
            Some(vec![0, 0, 100, 100]),
        ),
        (
            pod("p", "x", "web", json!({})),
            pod("q", "x", "db", preferred("podAffinity", "web")),
            Some(vec![100, 100, 0, 0]),
        ),
        (
            pod("p", "x", "web", json!({})),
            pod("q", "x", "db", near("web")),
            Some(vec![100, 100, 0, 0]),
        ),
        (pod("p", "x", "web", json!({})), pod("q", "x", "db", json!({})), None),
    ];
    for (new, there, expected) in cases {
        let cluster = cluster(vec![there]);
        let nodes: Vec<_> = cluster.nodes().iter().collect();
        assert_eq!(InterPodAffinity.score(&new, &cluster, &nodes), expected);
    }
}
