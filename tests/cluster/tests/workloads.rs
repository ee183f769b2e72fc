//! Pods on a running cluster: they come back, get their volumes and probes, and end with grace.

use skep_cluster_tests::{Namespace, eventually, holds, inside};

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: long}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 1
      restartPolicy: Never
      containers:
      - {name: main, image: "skep.local/busybox:1", command: [sh, -c, "sleep 3600"]}
"#;

#[test]
fn a_killed_process_comes_back_in_the_same_pod() {
    let space = Namespace::new("killed");
    space.apply("page.yaml");
    space.rolled_out("page");
    let pod = &space.get(&["pods"])["items"][0];
    let text = |pointer: &str| {
        pod.pointer(pointer).and_then(|v| v.as_str()).expect("it is set").to_owned()
    };
    let (name, node) = (text("/metadata/name"), text("/spec/nodeName"));
    let id = text("/status/containerStatuses/0/containerID");
    let id = id.trim_start_matches("containerd://");
    let tasks = inside(&node, &["ctr", "-n", "k8s.io", "tasks", "list"]).ok();
    let row = tasks.lines().find(|line| line.starts_with(id)).expect("containerd knows it");
    let pid = row.split_whitespace().nth(1).expect("the second column is the process");
    inside(&node, &["kill", "-9", pid]).ok();
    let object = format!("pod/{name}");
    eventually("a restart", || {
        let restarts = space.field(&object, "/status/containerStatuses/0/restartCount");
        holds(restarts == 1, &restarts)
    });
    space.ready(&name);
    let last = space.field(&object, "/status/containerStatuses/0/lastState/terminated/exitCode");
    assert_eq!(last, 137);
}

#[test]
fn volumes_and_environment_come_from_objects() {
    let space = Namespace::new("volumes");
    space.kubectl(&["create", "configmap", "settings", "--from-literal=color=green"]).ok();
    space.kubectl(&["create", "secret", "generic", "password", "--from-literal=word=hush"]).ok();
    space.apply("volumes.yaml");
    eventually("the pod to end", || {
        let phase = space.field("pod/volumes", "/status/phase");
        holds(phase == "Succeeded", &space.kubectl(&["logs", "volumes", "--all-containers"]).text())
    });
    let logs = space.kubectl(&["logs", "volumes", "-c", "second"]).ok();
    for line in [
        "color=green",
        "env=green",
        "word=hush",
        "name=volumes",
        "shared=from the first",
        "init=done",
        "token=3",
    ] {
        assert!(logs.lines().any(|found| found == line), "{line} is missing:\n{logs}");
    }
}

#[test]
fn a_failing_liveness_probe_restarts_and_a_failing_readiness_probe_does_not() {
    let space = Namespace::new("probes");
    space.apply("probes.yaml");
    eventually("the restart", || {
        let restarts = space.field("pod/unwell", "/status/containerStatuses/0/restartCount");
        holds(restarts.as_u64() >= Some(1), &restarts)
    });
    eventually("running without being ready", || {
        let status = space.field("pod/shy", "/status/containerStatuses/0");
        holds(status["state"].get("running").is_some() && status["ready"] == false, &status)
    });
    assert_eq!(space.field("pod/shy", "/status/containerStatuses/0/restartCount"), 0);
}

#[test]
fn a_pod_that_its_job_lets_go_of_is_nobodys_to_count() {
    let space = Namespace::new("released");
    space.apply_text(JOB).ok();
    let pod = eventually("the job's pod", || {
        let pods = space.get(&["pods", "--selector", "job-name=long"]);
        let name = pods.pointer("/items/0/metadata/name").and_then(|name| name.as_str());
        name.map(str::to_owned).ok_or_else(|| pods.to_string())
    });
    let object = format!("pod/{pod}");
    assert!(space.field(&object, "/metadata/finalizers/0").is_string());
    space.kubectl(&["label", &object, "batch.kubernetes.io/controller-uid-"]).ok();
    eventually("the release", || {
        let (owner, held) = (
            space.field(&object, "/metadata/ownerReferences"),
            space.field(&object, "/metadata/finalizers"),
        );
        holds(owner.is_null() && held.is_null(), &(owner, held))
    });
    space.kubectl(&["delete", &object, "--now"]).ok();
}

#[test]
fn a_pod_that_fits_nowhere_says_why() {
    let space = Namespace::new("unfit");
    space
        .apply_text(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"giant"},"spec":{"containers":[{"name":"c",
            "image":"skep.local/demo:1","resources":{"requests":{"cpu":"1000"}}}]}}"#,
        )
        .ok();
    eventually("the event", || {
        let text =
            space.kubectl(&["get", "events", "--field-selector=reason=FailedScheduling"]).ok();
        holds(text.contains("0/3 nodes are available: 3 Insufficient cpu"), &text)
    });
}

#[test]
fn an_agent_that_restarts_disturbs_no_pod() {
    let space = Namespace::new("undisturbed");
    space.apply("page.yaml");
    space.rolled_out("page");
    let ids = || {
        let pods = space.get(&["pods"]);
        let statuses = pods["items"].as_array().expect("a list").iter();
        let mut ids: Vec<String> = statuses
            .map(|pod| {
                pod.pointer("/status/containerStatuses/0/containerID")
                    .map_or(String::new(), ToString::to_string)
            })
            .collect();
        ids.sort();
        ids
    };
    let before = ids();
    let agents = |node: &str| inside(node, &["cat", "/run/skep/agent.pid"]).ok().trim().to_owned();
    for node in ["n1", "n2", "n3"] {
        let pid = agents(node);
        inside(node, &["kill", "-9", &pid]).ok();
        eventually("another agent", || {
            let now = agents(node);
            holds(now != pid, &now)
        });
    }
    space.kubectl(&["scale", "deployment", "page", "--replicas=4"]).ok();
    space.rolled_out("page");
    let after = ids();
    assert!(before.iter().all(|id| after.contains(id)), "{before:?} became {after:?}");
}
