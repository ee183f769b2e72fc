use super::*;
use crate::backoff::Backoff;
use crate::memory::{Verdicts, Waiting};
use crate::observe::{Sandbox, Stage};
use serde_json::{Value, json};

const NOW: i64 = 1_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A pod with these containers, each `{"name": ..}` at least.
fn pod(spec: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec
    }))
    .unwrap()
}

fn sandbox(ready: bool) -> Sandbox {
    Sandbox { id: "s0".into(), attempt: 0, ready, addresses: vec!["10.0.0.1".parse().unwrap()] }
}

/// `name:stage[:code]`, with the stages `created`, `running`, `exited`.
fn container(text: &str) -> Container {
    let parts: Vec<&str> = text.split(':').collect();
    let stage = match parts[1] {
        "created" => Stage::Created,
        "running" => Stage::Running,
        "exited" => Stage::Exited,
        other => panic!("no stage {other}"),
    };
    Container {
        id: format!("id-{}", parts[0]),
        uri: format!("containerd://id-{}", parts[0]),
        sandbox: "s0".into(),
        name: parts[0].into(),
        attempt: 0,
        stage,
        created_at: now(),
        started_at: Some(now()),
        finished_at: (stage == Stage::Exited).then(now),
        exit_code: parts.get(2).map_or(0, |code| code.parse().unwrap()),
        reason: String::new(),
        message: String::new(),
        image: String::new(),
        image_id: String::new(),
        hash: String::new(),
        amounts: None,
        log_path: String::new(),
    }
}

fn seen(containers: &[&str]) -> Observed {
    let containers = containers.iter().map(|text| container(text)).collect();
    Observed { sandboxes: vec![sandbox(true)], containers }
}

/// Actions in short: `sandbox 0`, `start a 1`, `stop a 30 PodEnds`, ...
fn short(plan: &Plan) -> Vec<String> {
    let one = |action: &Action| match action {
        Action::MakeSandbox { attempt } => format!("sandbox {attempt}"),
        Action::StopSandbox { id } => format!("stop sandbox {id}"),
        Action::Start { name, attempt } => format!("start {name} {attempt}"),
        Action::Stop { name, grace, why, .. } => format!("stop {name} {} {why:?}", grace.as_secs()),
        Action::Resize { name, amounts, .. } => format!("resize {name} {}", amounts.to_text()),
        Action::Remove { id } => format!("remove {id}"),
        Action::CancelStart => "cancel".into(),
        Action::TearDown => "tear down".into(),
        Action::Delete => "delete".into(),
        Action::Forget => "forget".into(),
    };
    plan.actions.iter().map(one).collect()
}

#[test]
fn coming_up() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let init =
        json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    let sidecar = json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let never = json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]});
    for (case, spec, observed, expected) in [
        ("nothing yet", &two, Observed::default(), vec!["sandbox 0"]),
        ("sandbox only", &two, seen(&[]), vec!["start a 0"]),
        ("one by one", &two, seen(&["a:running"]), vec!["start b 0"]),
        ("all run", &two, seen(&["a:running", "b:running"]), vec![]),
        ("made and not started", &two, seen(&["a:created"]), vec!["remove id-a", "start b 0"]),
        ("first init", &init, seen(&[]), vec!["start i 0"]),
        ("init runs", &init, seen(&["i:running"]), vec![]),
        ("second init", &init, seen(&["i:exited:0"]), vec!["start j 0"]),
        ("init failed", &init, seen(&["i:exited:1"]), vec!["start i 1"]),
        ("work", &init, seen(&["i:exited:0", "j:exited:0"]), vec!["start a 0"]),
        ("init containers are forgotten", &init, seen(&["a:running"]), vec![]),
        ("sidecar first", &sidecar, seen(&[]), vec!["start s 0"]),
        ("then work", &sidecar, seen(&["s:running"]), vec!["start a 0"]),
        ("sidecar comes back", &sidecar, seen(&["s:exited:0", "a:running"]), vec!["start s 1"]),
        ("always again", &two, seen(&["a:exited:0", "b:running"]), vec!["start a 1"]),
        ("never again", &never, seen(&["a:exited:1", "b:running"]), vec![]),
    ] {
        let plan = plan(&pod(spec), &observed, &Memory::default(), now());
        assert_eq!(short(&plan), expected, "{case}");
        assert!(!plan.ending, "{case}");
    }
}

#[test]
fn what_is_under_way_is_not_begun_again() {
    let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let mut memory = Memory::default();
    memory.jobs.sandbox = true;
    assert!(plan(&pod(&spec), &Observed::default(), &memory, now()).actions.is_empty());
    memory.jobs.sandbox = false;
    memory.jobs.starting = Some("a".into());
    assert!(plan(&pod(&spec), &seen(&[]), &memory, now()).actions.is_empty());
    assert!(plan(&pod(&spec), &seen(&["a:created"]), &memory, now()).actions.is_empty());
}

#[test]
fn failures_are_given_time() {
    let spec = json!({"containers": [{"name": "a"}]});
    let later = now() + SignedDuration::from_secs(2);
    let mut memory = Memory { sandbox_retry: Some(later), ..Memory::default() };
    let waits = plan(&pod(&spec), &Observed::default(), &memory, now());
    assert_eq!((short(&waits), waits.wake_at), (vec![], Some(later)));
    assert_eq!(short(&plan(&pod(&spec), &Observed::default(), &memory, later)), ["sandbox 0"]);

    let waiting =
        Waiting { reason: "ErrImagePull".into(), message: "no".into(), retry_at: later, tries: 0 };
    memory.waiting.insert("a".into(), waiting);
    assert_eq!(plan(&pod(&spec), &seen(&[]), &memory, now()).wake_at, Some(later));
    assert_eq!(short(&plan(&pod(&spec), &seen(&[]), &memory, later)), ["start a 0"]);
}

#[test]
fn a_crash_waits_for_its_backoff() {
    let spec = json!({"containers": [{"name": "a"}]});
    let mut backoff = Backoff::default();
    backoff.advance(now());
    let mut memory = Memory::default();
    memory.backoffs.insert("a".into(), backoff);
    let waits = plan(&pod(&spec), &seen(&["a:exited:1"]), &memory, now());
    let until = now() + SignedDuration::from_secs(10);
    assert_eq!((short(&waits), waits.wake_at), (vec![], Some(until)));
    let status = &waits.status.container_statuses.as_ref().unwrap()[0];
    let reason = status.state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref();
    assert_eq!(reason, Some("CrashLoopBackOff"));
    assert_eq!(status.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
    assert_eq!(waits.status.phase.as_deref(), Some("Running"));
    assert_eq!(short(&plan(&pod(&spec), &seen(&["a:exited:1"]), &memory, until)), ["start a 1"]);
}

#[test]
fn probes_decide() {
    let probe = json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3});
    let spec =
        json!({"containers": [{"name": "a", "livenessProbe": probe, "startupProbe": probe}]});
    for (case, verdicts, expected) in [
        ("unknown", Verdicts::default(), vec![]),
        ("alive", Verdicts { liveness: Some(true), ..Verdicts::default() }, vec![]),
        (
            "dead",
            Verdicts { liveness: Some(false), ..Verdicts::default() },
            vec!["stop a 3 Liveness"],
        ),
        (
            "never up",
            Verdicts { startup: Some(false), ..Verdicts::default() },
            vec!["stop a 3 Startup"],
        ),
    ] {
        let mut memory = Memory::default();
        memory.verdicts.insert("id-a".into(), verdicts);
        let plan = plan(&pod(&spec), &seen(&["a:running"]), &memory, now());
        assert_eq!(short(&plan), expected, "{case}");
    }
}

#[test]
fn a_sidecar_that_is_not_up_holds_the_rest() {
    let probe = json!({"tcpSocket": {"port": 1}});
    let spec = json!({"containers": [{"name": "a"}],
        "initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": probe}]});
    let mut memory = Memory::default();
    assert!(plan(&pod(&spec), &seen(&["s:running"]), &memory, now()).actions.is_empty());
    memory.verdicts.insert("id-s".into(), Verdicts { startup: Some(true), ..Verdicts::default() });
    assert_eq!(short(&plan(&pod(&spec), &seen(&["s:running"]), &memory, now())), ["start a 0"]);
}

#[test]
fn a_changed_image_replaces_the_container() {
    let spec = json!({"containers": [{"name": "a", "image": "new"}]});
    let mut observed = seen(&["a:running"]);
    observed.containers[0].hash = "of the old image".into();
    let plan = plan(&pod(&spec), &observed, &Memory::default(), now());
    assert_eq!(short(&plan), ["stop a 30 Changed"]);
}

#[test]
fn resources_change_in_place_or_with_a_restart() {
    let restart = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    for (case, given, policy, expected) in [
        ("as asked", "100 - 0 -", json!([]), vec![]),
        ("nobody knows", "", json!([]), vec![]),
        ("less than asked", "50 - 0 -", json!([]), vec!["resize a 100 - 0 -"]),
        ("restart for memory only", "50 - 0 -", restart.clone(), vec!["resize a 100 - 0 -"]),
        ("restart", "100 - 5 -", restart, vec!["stop a 30 Resized"]),
    ] {
        let resources = json!({"requests": {"cpu": "100m"}});
        let container = json!({"name": "a", "resources": resources, "resizePolicy": policy});
        let mut observed = seen(&["a:running"]);
        observed.containers[0].amounts = Amounts::from_text(given);
        let plan =
            plan(&pod(&json!({"containers": [container]})), &observed, &Memory::default(), now());
        assert_eq!(short(&plan), expected, "{case}");
    }
}

#[test]
fn a_lost_sandbox_takes_its_containers_along() {
    let spec = json!({"containers": [{"name": "a"}]});
    let mut observed = seen(&["a:running"]);
    observed.sandboxes[0].ready = false;
    assert_eq!(
        short(&plan(&pod(&spec), &observed, &Memory::default(), now())),
        ["stop a 30 SandboxGone"]
    );
    observed.containers[0].stage = Stage::Exited;
    assert_eq!(short(&plan(&pod(&spec), &observed, &Memory::default(), now())), ["sandbox 1"]);
}

#[test]
fn going_down_in_order() {
    let spec = json!({
        "initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}, {"name": "b"}]});
    let mut pod = pod(&spec);
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    pod.metadata.deletion_grace_period_seconds = Some(7);
    let mut down = seen(&["s1:exited:0", "s2:exited:0", "a:exited:0", "b:exited:0"]);
    let memory = Memory::default();
    let torn = Memory { torn_down: true, ..Memory::default() };
    for (case, observed, memory, expected) in [
        (
            "work first",
            seen(&["s1:running", "s2:running", "a:running", "b:running"]),
            &memory,
            vec!["stop a 7 PodEnds", "stop b 7 PodEnds"],
        ),
        (
            "then the last sidecar",
            seen(&["s1:running", "s2:running", "a:exited:0", "b:exited:0"]),
            &memory,
            vec!["stop s2 7 PodEnds"],
        ),
        (
            "then the first",
            seen(&["s1:running", "s2:exited:0", "a:exited:0", "b:exited:0"]),
            &memory,
            vec!["stop s1 7 PodEnds"],
        ),
        ("then the sandbox", down.clone(), &memory, vec!["stop sandbox s0"]),
        (
            "then the volumes",
            {
                down.sandboxes[0].ready = false;
                down.clone()
            },
            &memory,
            vec!["tear down"],
        ),
        ("then the object", down.clone(), &torn, vec!["delete"]),
    ] {
        let plan = plan(&pod, &observed, memory, now());
        assert_eq!(short(&plan), expected, "{case}");
        assert!(plan.ending, "{case}");
    }
    let gone = Memory { gone: true, ..Memory::default() };
    assert_eq!(short(&plan(&pod, &down, &gone, now())), ["forget"]);
}

#[test]
fn less_grace_is_passed_on() {
    let mut pod = pod(&json!({"containers": [{"name": "a"}]}));
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    pod.metadata.deletion_grace_period_seconds = Some(30);
    let mut memory = Memory::default();
    memory.jobs.stopping.insert("id-a".into(), SignedDuration::from_secs(30));
    assert!(plan(&pod, &seen(&["a:running"]), &memory, now()).actions.is_empty());
    pod.metadata.deletion_grace_period_seconds = Some(1);
    assert_eq!(short(&plan(&pod, &seen(&["a:running"]), &memory, now())), ["stop a 1 PodEnds"]);
}

#[test]
fn a_start_is_cancelled_before_the_end() {
    let mut pod = pod(&json!({"containers": [{"name": "a"}]}));
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let mut memory = Memory::default();
    memory.jobs.starting = Some("a".into());
    assert_eq!(short(&plan(&pod, &seen(&[]), &memory, now())), ["cancel"]);
}

#[test]
fn the_deadline_ends_a_pod() {
    let mut pod = pod(&json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a"}]}));
    let start = now() - SignedDuration::from_secs(4);
    pod.status = Some(serde_json::from_value(json!({"startTime": start.to_string()})).unwrap());
    let early = plan(&pod, &seen(&["a:running"]), &Memory::default(), now());
    assert_eq!(early.wake_at, Some(now() + SignedDuration::from_secs(1)));
    let late = now() + SignedDuration::from_secs(1);
    let over = plan(&pod, &seen(&["a:running"]), &Memory::default(), late);
    assert_eq!(short(&over), ["stop a 30 PodEnds"]);
    assert_eq!(over.status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(over.status.phase.as_deref(), Some("Failed"));
}

#[test]
fn an_ended_pod_is_taken_down_and_kept() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
    let mut observed = seen(&["a:exited:0"]);
    let first = plan(&pod(&spec), &observed, &Memory::default(), now());
    assert_eq!((short(&first), first.ending), (vec!["stop sandbox s0".to_owned()], true));
    observed.sandboxes[0].ready = false;
    let torn = Memory { torn_down: true, ..Memory::default() };
    assert!(plan(&pod(&spec), &observed, &torn, now()).actions.is_empty());
}
