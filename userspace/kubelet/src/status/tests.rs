use super::*;
use crate::memory::{Verdicts, Waiting};
use crate::observe::{Container, Sandbox, Stage};
use serde_json::{Value, json};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn pod(spec: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3}, "spec": spec
    }))
    .unwrap()
}

/// `name:created`, `name:running` or `name:exited:code`.
fn seen(containers: &[&str]) -> Observed {
    let one = |text: &&str| {
        let parts: Vec<&str> = text.split(':').collect();
        let stage = match parts[1] {
            "created" => Stage::Created,
            "running" => Stage::Running,
            _ => Stage::Exited,
        };
        Container {
            id: parts[0].into(),
            uri: format!("containerd://{}", parts[0]),
            sandbox: "s".into(),
            name: parts[0].into(),
            attempt: 2,
            stage,
            created_at: now(),
            started_at: Some(now()),
            finished_at: (stage == Stage::Exited).then(now),
            exit_code: parts.get(2).map_or(0, |code| code.parse().unwrap()),
            reason: "Completed".into(),
            message: String::new(),
            image: "i".into(),
            image_id: "sha256:0".into(),
            hash: String::new(),
            amounts: None,
            log_path: String::new(),
        }
    };
    let addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let sandbox = Sandbox { id: "s".into(), attempt: 0, ready: true, addresses };
    Observed { sandboxes: vec![sandbox], containers: containers.iter().map(one).collect() }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> (&'a str, Option<&'a str>) {
    let mut all = status.conditions.iter().flatten();
    let found = all.find(|condition| condition.type_ == kind).unwrap();
    (found.status.as_str(), found.reason.as_deref())
}

#[test]
fn phases() {
    let main = json!([{"name": "a"}, {"name": "b"}]);
    let init = json!([{"name": "i"}]);
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}]);
    for (case, policy, first, containers, expected) in [
        ("nothing", "Always", json!([]), vec![], "Pending"),
        ("init runs", "Always", init.clone(), vec!["i:running"], "Pending"),
        ("init fails, tried again", "OnFailure", init.clone(), vec!["i:exited:1"], "Pending"),
        ("init fails for good", "Never", init.clone(), vec!["i:exited:1"], "Failed"),
        ("one to come", "Always", json!([]), vec!["a:running"], "Pending"),
        ("all run", "Always", init, vec!["i:exited:0", "a:running", "b:running"], "Running"),
        ("one ended", "Never", json!([]), vec!["a:exited:0", "b:running"], "Running"),
        ("all good", "Never", json!([]), vec!["a:exited:0", "b:exited:0"], "Succeeded"),
        ("one bad", "Never", json!([]), vec!["a:exited:0", "b:exited:1"], "Failed"),
        ("good on failure", "OnFailure", json!([]), vec!["a:exited:0", "b:exited:0"], "Succeeded"),
        ("bad on failure", "OnFailure", json!([]), vec!["a:exited:0", "b:exited:1"], "Running"),
        ("always", "Always", json!([]), vec!["a:exited:0", "b:exited:0"], "Running"),
        (
            "a sidecar does not count",
            "Never",
            sidecar,
            vec!["s:running", "a:exited:0", "b:exited:0"],
            "Succeeded",
        ),
    ] {
        let pod =
            pod(&json!({"restartPolicy": policy, "initContainers": first, "containers": main}));
        let status = status(&pod, &seen(&containers), &Memory::default(), false, now());
        assert_eq!(status.phase.as_deref(), Some(expected), "{case}");
    }
}

#[test]
fn conditions_follow_containers() {
    let probe = json!({"tcpSocket": {"port": 1}});
    let spec = json!({"containers": [{"name": "a", "readinessProbe": probe}], "readinessGates": [{"conditionType": "x/y"}]});
    let mut pod = pod(&spec);
    let mut memory = Memory::default();
    let unready = status(&pod, &seen(&["a:running"]), &memory, false, now());
    assert_eq!(condition(&unready, "Initialized"), ("True", None));
    assert_eq!(condition(&unready, "ContainersReady"), ("False", Some("ContainersNotReady")));
    assert_eq!(condition(&unready, "Ready"), ("False", Some("ContainersNotReady")));
    memory.verdicts.insert("a".into(), Verdicts { readiness: Some(true), ..Verdicts::default() });
    let gated = status(&pod, &seen(&["a:running"]), &memory, false, now());
    assert_eq!(condition(&gated, "ContainersReady"), ("True", None));
    assert_eq!(condition(&gated, "Ready"), ("False", Some("ReadinessGatesNotReady")));
    pod.status = Some(
        serde_json::from_value(json!({"conditions": [{"type": "x/y", "status": "True"}]})).unwrap(),
    );
    let ready = status(&pod, &seen(&["a:running"]), &memory, false, now());
    assert_eq!(condition(&ready, "Ready"), ("True", None));
    assert_eq!(ready.conditions.unwrap()[0].observed_generation, Some(3));
}

#[test]
fn a_transition_time_stays_while_nothing_changes() {
    let mut pod = pod(&json!({"containers": [{"name": "a"}]}));
    let first = status(&pod, &seen(&["a:running"]), &Memory::default(), false, now());
    pod.status = Some(first.clone());
    let later = now() + jiff::SignedDuration::from_secs(60);
    assert_eq!(status(&pod, &seen(&["a:running"]), &Memory::default(), false, later), first);
}

#[test]
fn addresses() {
    let pod = pod(&json!({"containers": [{"name": "a"}]}));
    let status = status(&pod, &seen(&["a:running"]), &Memory::default(), false, now());
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(status.pod_ips.unwrap()[1].ip, "fd00::1");
}

#[test]
fn why_a_container_waits() {
    let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let reason = |memory: &Memory, containers: &[&str], name: &str| {
        let status = status(&pod(&spec), &seen(containers), memory, false, now());
        let all = status.container_statuses.into_iter().chain(status.init_container_statuses);
        let found = all.flatten().find(|one| one.name == name).unwrap();
        found.state.unwrap().waiting.and_then(|waiting| waiting.reason)
    };
    let mut memory = Memory::default();
    assert_eq!(reason(&memory, &["i:running"], "a").as_deref(), Some("PodInitializing"));
    assert_eq!(reason(&memory, &["i:created"], "i").as_deref(), Some("PodInitializing"));
    let waiting =
        Waiting { reason: "ErrImagePull".into(), message: "m".into(), retry_at: now(), tries: 0 };
    memory.waiting.insert("a".into(), waiting);
    assert_eq!(reason(&memory, &["i:exited:0"], "a").as_deref(), Some("ErrImagePull"));
}

#[test]
fn a_deleted_pod_that_never_started_has_failed() {
    let mut pod = pod(&json!({"containers": [{"name": "a"}]}));
    pod.metadata.deletion_timestamp = Some(Time(now()));
    let observed = Observed::default();
    let status = status(&pod, &observed, &Memory::default(), false, now());
    let end = status.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
}

#[test]
fn a_pod_turned_away_has_no_containers() {
    let pod = pod(&json!({"containers": [{"name": "a"}]}));
    let doom = Doom { reason: "OutOfcpu".into(), message: "no room".into() };
    let memory = Memory { doom: Some(doom), ..Memory::default() };
    let status = status(&pod, &Observed::default(), &memory, false, now());
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    assert_eq!(status.container_statuses, None);
}

#[test]
fn durations_as_go_prints_them() {
    for (millis, text) in
        [(350, "350ms"), (10_000, "10s"), (1500, "1.500s"), (80_000, "1m20s"), (300_000, "5m0s")]
    {
        assert_eq!(go_duration(std::time::Duration::from_millis(millis)), text);
    }
}
