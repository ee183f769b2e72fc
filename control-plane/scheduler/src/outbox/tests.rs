use std::sync::Mutex;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// An API server that writes down what it is asked, and answers bindings with a given code.
struct Server {
    outbox: Outbox,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    failed: UnboundedReceiver<String>,
}

fn server(binding_code: u16) -> Server {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let notes = notes.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            let bytes = request.into_body().collect().await?.to_bytes();
            let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let code = if line.ends_with("/binding") { binding_code } else { 200 };
            notes.lock().unwrap().push((line, body.clone()));
            let answer = match code {
                200 if body["kind"] == "DeleteOptions" => {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})
                }
                200 if body["metadata"].is_object() => body,
                200 => json!({"metadata": {"name": "p"}}),
                _ => {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Conflict", "message": "no"})
                }
            };
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, tower::BoxError>(Response::builder().status(code).body(answer).unwrap())
        }
    });
    let (sender, failed) = unbounded_channel();
    let client = Client::new(service, "default");
    Server {
        outbox: Outbox::new(client, "default-scheduler", "default-scheduler-h".into(), sender),
        asked,
        failed,
    }
}

impl Server {
    async fn run(&self, effect: Effect) -> Vec<(String, Value)> {
        self.outbox.carry_out(effect).await;
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn lines(asked: &[(String, Value)]) -> Vec<&str> {
    asked.iter().map(|(line, _)| line.as_str()).collect()
}

fn pod(name: &str) -> Arc<PodInfo> {
    Arc::new(PodInfo {
        namespace: "a".into(),
        name: name.into(),
        uid: format!("{name}-uid"),
        scheduler: "default-scheduler".into(),
        ..PodInfo::default()
    })
}

fn bind(name: &str) -> Effect {
    Effect::Bind { pod: pod(name), node: "n1".into(), supplies: Vec::new() }
}

const EVENTS: &str = "POST /apis/events.k8s.io/v1/namespaces/a/events";

#[tokio::test]
async fn a_binding_is_made_and_told() {
    let mut server = server(200);
    let asked = server.run(bind("p")).await;
    assert_eq!(lines(&asked), ["POST /api/v1/namespaces/a/pods/p/binding", EVENTS]);
    assert_eq!(asked[0].1["target"]["name"], "n1");
    assert_eq!(asked[0].1["metadata"]["uid"], "p-uid", "another pod of this name is not bound");
    assert_eq!(asked[1].1["note"], "Successfully assigned a/p to n1");
    assert_eq!(asked[1].1["reportingController"], "default-scheduler");
    assert!(server.failed.try_recv().is_err());
}

#[tokio::test]
async fn a_refused_binding_is_told_and_handed_back() {
    let mut server = server(409);
    let asked = server.run(bind("p")).await;
    assert_eq!(lines(&asked), ["POST /api/v1/namespaces/a/pods/p/binding", EVENTS]);
    assert_eq!(asked[1].1["reason"], "FailedScheduling");
    assert_eq!(server.failed.try_recv().unwrap(), "p-uid");
}

#[tokio::test]
async fn a_pod_that_is_gone_is_handed_back_in_silence() {
    let mut server = server(404);
    assert_eq!(lines(&server.run(bind("p")).await), ["POST /api/v1/namespaces/a/pods/p/binding"]);
    assert_eq!(server.failed.try_recv().unwrap(), "p-uid");
}

#[tokio::test]
async fn a_report_changes_the_condition_only_when_it_says_something_new() {
    let server = server(200);
    let report =
        |pod: Arc<PodInfo>, nominated| Effect::Report { pod, message: "m".into(), nominated };
    let asked = server.run(report(pod("p"), None)).await;
    assert_eq!(lines(&asked), [EVENTS, "PATCH /api/v1/namespaces/a/pods/p/status"]);
    let condition = &asked[1].1["status"]["conditions"][0];
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("Unschedulable"), &json!("m"))
    );
    assert!(asked[1].1["status"].get("nominatedNodeName").is_none());

    let told =
        PodInfo { unscheduled: Some(("Unschedulable".into(), "m".into())), ..(*pod("q")).clone() };
    assert_eq!(lines(&server.run(report(Arc::new(told.clone()), None)).await), [EVENTS]);
    let asked = server.run(report(Arc::new(told), Some(Some("n1".into())))).await;
    let patch = asked.last().unwrap();
    assert_eq!(patch.1["status"], json!({"nominatedNodeName": "n1"}));
}

#[tokio::test]
async fn a_victim_is_marked_before_it_is_deleted() {
    let server = server(200);
    let effect = Effect::Evict { victim: pod("v"), preemptor: pod("p"), node: "n1".into() };
    let asked = server.run(effect).await;
    let expected =
        ["PATCH /api/v1/namespaces/a/pods/v/status", "DELETE /api/v1/namespaces/a/pods/v", EVENTS];
    assert_eq!(lines(&asked), expected);
    assert_eq!(asked[0].1["status"]["conditions"][0]["type"], "DisruptionTarget");
    assert_eq!(asked[1].1["preconditions"]["uid"], "v-uid");
    assert_eq!(asked[2].1["note"], "Preempted by pod p-uid on node n1");
}

#[test]
fn long_notes_are_cut_at_a_character() {
    assert_eq!(shortened("short".into()), "short");
    let cut = shortened("ä".repeat(1000));
    assert!(cut.len() <= LONGEST_NOTE && cut.ends_with("ä ..."), "{}", cut.len());
}

#[test]
fn the_condition_keeps_its_time_while_the_pod_does_not_fit() {
    let new = PodInfo::default();
    assert!(condition(&new, "m").get("lastTransitionTime").is_some());
    let old = PodInfo { unscheduled: Some(("Unschedulable".into(), "other".into())), ..new };
    assert!(condition(&old, "m").get("lastTransitionTime").is_none());
}
