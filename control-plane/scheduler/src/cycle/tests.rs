use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str, spec: impl Into<Value>) -> NodeInfo {
    let spec = spec.into();
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}},
    }))
    .unwrap();
    NodeInfo::new(&node)
}

fn pod(name: &str, cpu: &str, spec: impl Into<Value>) -> PodInfo {
    let spec: Value = spec.into();
    let mut object = json!({
        "metadata": {"name": name, "uid": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "web", "resources": {"requests": {"cpu": cpu}}}]},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let pod: Pod = serde_json::from_value(object).unwrap();
    PodInfo::new(&pod)
}

fn cluster(nodes: impl IntoIterator<Item = NodeInfo>) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(node);
    }
    cluster
}

fn run(pod: &PodInfo, cluster: &Cluster) -> Result<String, String> {
    schedule(&Profile::default(), pod, cluster, Chance::default())
        .map_err(|diagnosis| diagnosis.to_string())
}

#[test]
fn each_obstacle_has_upstreams_words() {
    let plain = || json!({});
    let taint = json!({"taints": [{"key": "a", "effect": "NoSchedule"}]});
    let three =
        cluster([node("n1", "1", plain()), node("n2", "4", taint.clone()), node("n3", "4", taint)]);
    let cordoned = cluster([node("n1", "4", json!({"unschedulable": true}))]);
    let pinned = |name: &str| {
        let term =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}})
    };
    let cases = [
        (
            &three,
            pod("p", "2", plain()),
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).",
        ),
        (
            &cordoned,
            pod("p", "1", plain()),
            "0/1 nodes are available: 1 node(s) were unschedulable.",
        ),
        (
            &cordoned,
            pod("p", "1", json!({"nodeSelector": {"disk": "ssd"}})),
            "0/1 nodes are available: 1 node(s) were unschedulable.",
        ),
        (
            &three,
            pod("p", "1", json!({"nodeSelector": {"disk": "ssd"}})),
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) had untolerated taint(s).",
        ),
        (
            &three,
            pod("p", "2", pinned("n1")),
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
        ),
        (
            &three,
            pod(
                "p",
                "1",
                json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}),
            ),
            "0/3 nodes are available: persistentvolumeclaim \"c\" not found.",
        ),
    ];
    for (cluster, pod, expected) in cases {
        assert_eq!(run(&pod, cluster), Err(expected.to_owned()));
    }
    assert_eq!(
        run(&pod("p", "1", plain()), &Cluster::default()),
        Err("no nodes available to schedule pods".into())
    );
    assert_eq!(run(&pod("p", "1", pinned("n1")), &three), Ok("n1".into()));
}

#[test]
fn host_ports_are_taken_once_per_node() {
    let port = |name: &str| {
        let container = json!({"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]});
        pod(name, "0", json!({"containers": [container]}))
    };
    let mut cluster = cluster([node("n1", "4", json!({}))]);
    cluster.assume(Arc::new(port("a")), "n1");
    let expected =
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    assert_eq!(run(&port("b"), &cluster), Err(expected.into()));
}

#[test]
fn pods_fill_the_emptier_nodes_first() {
    let mut cluster = cluster((1..=3).map(|n| node(&format!("n{n}"), "4", json!({}))));
    let mut counts = std::collections::BTreeMap::new();
    for index in 0..9 {
        let pod = pod(&format!("p{index}"), "100m", json!({}));
        let chosen = run(&pod, &cluster).unwrap();
        *counts.entry(chosen.clone()).or_insert(0) += 1;
        cluster.assume(Arc::new(pod), &chosen);
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn equal_nodes_are_taken_by_chance() {
    let cluster = cluster((1..=3).map(|n| node(&format!("n{n}"), "4", json!({}))));
    let profile = Profile::default();
    let pod = pod("p", "1", json!({}));
    let chosen: BTreeSet<_> = (0..3)
        .map(|pick| schedule(&profile, &pod, &cluster, Chance { start: 0, pick }).unwrap())
        .collect();
    assert_eq!(chosen.len(), 3);
}

#[test]
fn room_made_for_a_more_important_pod_is_not_taken() {
    let mut cluster = cluster([node("n1", "1", json!({}))]);
    let important = pod("important", "1", json!({"priority": 10}));
    cluster.nominate(Arc::new(important.clone()), "n1");
    let expected = "0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(run(&pod("p", "1", json!({})), &cluster), Err(expected.into()));
    assert_eq!(run(&important, &cluster), Ok("n1".into()), "not even by itself");
    assert_eq!(run(&pod("p", "1", json!({"priority": 11})), &cluster), Ok("n1".into()));
}

#[test]
fn a_nominated_node_is_tried_first() {
    let cluster = cluster([node("n1", "4", json!({})), node("n2", "1", json!({}))]);
    let mut waiting = pod("p", "1", json!({}));
    waiting.nominated = Some("n2".into());
    assert_eq!(run(&waiting, &cluster), Ok("n2".into()));
    let mut large = pod("p", "2", json!({}));
    large.nominated = Some("n2".into());
    assert_eq!(run(&large, &cluster), Ok("n1".into()));
}

#[test]
fn large_clusters_are_not_asked_to_the_end() {
    let cases = [(10, 100), (100, 100), (1000, 420), (5000, 500), (10_000, 500)];
    for (nodes, expected) in cases {
        assert_eq!(enough_nodes(nodes), expected, "{nodes}");
    }
}
