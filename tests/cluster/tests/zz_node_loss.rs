//! A node that dies: its pods move. Last, because the cluster has one node less afterwards.

use skep_cluster_tests::{Namespace, eventually, holds, kill, kubectl};

#[test]
fn a_killed_nodes_pods_move() {
    let space = Namespace::new("moving");
    space.apply_text(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover}
spec:
  replicas: 3
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: main, image: skep.local/demo:1, args: [pause]}]
"#,
    )
    .ok();
    space.rolled_out("mover");
    kill("n3").ok();
    eventually("the node to be not ready", || {
        let ready = kubectl(&[
            "get",
            "node",
            "n3",
            "-o",
            r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#,
        ])
        .ok();
        holds(ready != "True", &ready)
    });
    eventually("three running pods elsewhere", || {
        let pods = space.get(&["pods", "--field-selector=status.phase=Running"]);
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let elsewhere = pods.iter().filter(|pod| {
            pod.pointer("/spec/nodeName") != Some(&"n3".into())
                && pod.pointer("/metadata/deletionTimestamp").is_none()
        });
        holds(elsewhere.count() >= 3, &pods.len())
    });
}
