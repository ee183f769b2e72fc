//! Services and the pod network of a running cluster, by real packets.

use skep_cluster_tests::{Namespace, demo, eventually, holds, inside};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

#[test]
fn no_netfilter_rule_is_written() {
    for node in NODES {
        for words in [&["iptables-save"][..], &["ip6tables-save"], &["nft", "list", "ruleset"]] {
            let text = inside(node, words).ok();
            let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(rules.is_empty(), "{node}: {words:?}: {rules:?}");
        }
    }
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let space = Namespace::new("refused");
    space
        .kubectl(&["create", "service", "nodeport", "nobody", "--tcp=80:8080", "--node-port=30999"])
        .ok();
    let address = space.field("service/nobody", "/spec/clusterIP");
    let url = format!("http://{}:80/", address.as_str().expect("it has an address"));
    for (place, url) in [("n1", url.as_str()), ("outside", "http://10.199.0.11:30999/")] {
        eventually("refused", || {
            let text = demo(place, &["fetch", url, "1", "3000"]).refused();
            holds(text.contains("refused"), &text)
        });
    }
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let space = Namespace::new("hairpin");
    space.apply("page.yaml");
    space.rolled_out("page");
    space.kubectl(&["scale", "deployment", "page", "--replicas=1"]).ok();
    eventually("a single pod", || {
        let pods = space.get(&["pods"]);
        holds(pods["items"].as_array().is_some_and(|pods| pods.len() == 1), &pods)
    });
    let address = space.field("service/page", "/spec/clusterIP");
    let url = format!("http://{}:80/", address.as_str().expect("it has an address"));
    let pod = space.kubectl(&["get", "pods", "-o", "name"]).ok();
    let words = ["exec", pod.trim(), "--", "/bin/skep-demo", "fetch", &url, "20"];
    eventually("answers", || {
        let ran = space.kubectl(&words);
        holds(ran.succeeded(), &ran)
    });
}

#[test]
fn a_deleted_pod_leaves_the_endpoints_before_it_dies() {
    let space = Namespace::new("leaving");
    space
        .apply_text(
            r#"
apiVersion: v1
kind: Pod
metadata: {name: stubborn, labels: {app: stubborn}}
spec:
  terminationGracePeriodSeconds: 30
  containers:
  - name: main
    image: skep.local/busybox:1
    command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]
---
apiVersion: v1
kind: Service
metadata: {name: stubborn}
spec: {selector: {app: stubborn}, ports: [{port: 80}]}
"#,
        )
        .ok();
    space.ready("stubborn");
    let endpoints = || space.get(&["endpointslices", "-l", "kubernetes.io/service-name=stubborn"]);
    let condition = |name: &str| {
        endpoints().pointer(&format!("/items/0/endpoints/0/conditions/{name}")).cloned()
    };
    eventually("a ready endpoint", || holds(condition("ready") == Some(true.into()), &endpoints()));
    space.kubectl(&["delete", "pod", "stubborn", "--wait=false"]).ok();
    eventually("a terminating endpoint", || {
        let now = endpoints();
        let at =
            |name: &str| now.pointer(&format!("/items/0/endpoints/0/conditions/{name}")).cloned();
        holds(at("ready") == Some(false.into()) && at("terminating") == Some(true.into()), &now)
    });
    let state = space.field("pod/stubborn", "/status/containerStatuses/0/state");
    assert!(state.get("running").is_some(), "its container still runs: {state}");
    space.kubectl(&["delete", "pod", "stubborn", "--grace-period=0", "--force"]).ok();
}

#[test]
fn the_kernels_tables_are_printed_with_names() {
    let space = Namespace::new("tables");
    space.apply("page.yaml");
    space.rolled_out("page");
    for node in NODES {
        eventually("the service's name", || {
            let text = inside(node, &["skep", "net", "services"]).ok();
            holds(text.contains("tables/page"), &text)
        });
        for what in ["status", "backends", "flows", "endpoints", "maps"] {
            let text = inside(node, &["skep", "net", what]).ok();
            assert!(!text.trim().is_empty(), "skep net {what} on {node} is silent");
        }
        let dump = inside(
            node,
            &["sh", "-c", "bpftool map dump pinned /sys/fs/bpf/skep/maps/services4 | head -20"],
        )
        .ok();
        assert!(dump.contains("port"), "bpftool prints no field names:\n{dump}");
    }
}

#[test]
fn the_tables_are_what_a_fresh_start_would_write() {
    let space = Namespace::new("verified");
    space.apply("page.yaml");
    space.rolled_out("page");
    for node in NODES {
        // Other tests change Services meanwhile.
        eventually("no difference", || {
            let ran = inside(node, &["skep", "net", "verify"]);
            holds(ran.succeeded(), &ran)
        });
    }
}

#[test]
fn a_packets_way_is_explained_with_names() {
    let space = Namespace::new("explained");
    space.apply("page.yaml");
    space.rolled_out("page");
    for sender in ["pod", "node", "outside"] {
        eventually("the Service's name and a backend's", || {
            let words = ["skep", "net", "explain", "--from", sender, "explained/page:80"];
            let text = inside("n1", &words).text();
            let end = text.lines().last().unwrap_or_default();
            holds(end.contains("explained/page") && text.contains("backends4"), &text)
        });
    }
}
