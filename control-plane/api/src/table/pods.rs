//! Pods: one word for the state of all their containers.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;

use super::age;
use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, flag, is_true, list, number, some_text, text};

pub(super) const POD: &[Column] = &[
    NAME,
    Column::text("Ready", "containers that are ready, of all", Cell::Made(ready)),
    Column::text("Status", "what its containers are doing", Cell::Made(status)),
    Column::text("Restarts", "restarts of its containers and the last one", Cell::Made(restarts)),
    AGE,
    Column::text("IP", "its address", Cell::Made(address)).wide(),
    Column::text("Node", "where it runs", Cell::TextOr("spec.nodeName", "<none>")).wide(),
    Column::text(
        "Nominated Node",
        "where it will run once others made room",
        Cell::TextOr("status.nominatedNodeName", "<none>"),
    )
    .wide(),
    Column::text("Readiness Gates", "gates that are open, of all", Cell::Made(gates)).wide(),
];

/// A pod that ran to its end says so, so that clients can tell it from the living.
pub(super) fn conditions(row: &Row) -> Option<Value> {
    let (reason, message) = match text(row.item, "status.phase") {
        "Succeeded" => ("Succeeded", "the pod ran to its end"),
        "Failed" => ("Failed", "the pod ended with a failure"),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

fn ready(row: &Row) -> Value {
    let summary = Summary::of(row.item);
    format!("{}/{}", summary.ready, summary.total).into()
}

fn status(row: &Row) -> Value {
    Summary::of(row.item).reason.into()
}

fn restarts(row: &Row) -> Value {
    let Restarts { count, last } = Summary::of(row.item).restarts;
    match last {
        Some(last) if count != 0 => {
            format!("{count} ({} ago)", age::human(age::seconds_between(last, row.now))).into()
        }
        _ => count.to_string().into(),
    }
}

fn address(row: &Row) -> Value {
    let first = list(row.item, "status.podIPs").first();
    first.and_then(|address| some_text(address, "ip")).unwrap_or("<none>").into()
}

fn gates(row: &Row) -> Value {
    let gates = list(row.item, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates.iter().filter(|gate| is_true(row.item, text(gate, "conditionType"))).count();
    format!("{open}/{}", gates.len()).into()
}

/// What a pod's containers add up to.
struct Summary {
    total: usize,
    ready: usize,
    reason: String,
    restarts: Restarts,
}

#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(container, "restartCount");
        self.last = self.last.max(age::read(at(container, "lastState.terminated.finishedAt")));
    }
}

impl Summary {
    fn of(pod: &Object) -> Self {
        let sidecars = list(pod, "spec.initContainers").iter().filter(|spec| is_sidecar(spec));
        let mut summary = Self {
            total: list(pod, "spec.containers").len() + sidecars.count(),
            ready: 0,
            reason: phase(pod),
            restarts: Restarts::default(),
        };
        let (initializing, sidecar_restarts) = summary.add_init_containers(pod);
        if !initializing || is_true(pod, "Initialized") {
            summary.restarts = sidecar_restarts;
            summary.add_containers(pod);
        }
        let deleted = !at(pod, "metadata.deletionTimestamp").is_null();
        if deleted && text(pod, "status.reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if deleted && !matches!(text(pod, "status.phase"), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
        summary
    }

    /// Whether initialization is still going on, and the restarts of sidecars, which go on counting
    /// after it.
    fn add_init_containers(&mut self, pod: &Object) -> (bool, Restarts) {
        let specs = list(pod, "spec.initContainers");
        let mut sidecar_restarts = Restarts::default();
        for (index, container) in list(pod, "status.initContainerStatuses").iter().enumerate() {
            self.restarts.add(container);
            let name = text(container, "name");
            let sidecar = specs.iter().any(|spec| text(spec, "name") == name && is_sidecar(spec));
            if sidecar {
                sidecar_restarts.add(container);
            }
            let terminated = at(container, "state.terminated");
            if terminated.is_object() && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecar && flag(container, "started") {
                self.ready += usize::from(flag(container, "ready"));
                continue;
            }
            self.reason = match some_text(container, "state.waiting.reason") {
                _ if terminated.is_object() => format!("Init:{}", end(terminated)),
                Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
                _ => format!("Init:{index}/{}", specs.len()),
            };
            return (true, sidecar_restarts);
        }
        (false, sidecar_restarts)
    }

    fn add_containers(&mut self, pod: &Object) {
        let (mut running, mut failure) = (false, None);
        for container in list(pod, "status.containerStatuses").iter().rev() {
            self.restarts.add(container);
            let terminated = at(container, "state.terminated");
            if let Some(reason) = some_text(container, "state.waiting.reason") {
                self.reason = reason.to_owned();
            } else if terminated.is_object() {
                self.reason = end(terminated);
                if number(terminated, "exitCode") != 0 {
                    failure = Some(self.reason.clone());
                }
            } else if flag(container, "ready") && at(container, "state.running").is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            if running && is_true(pod, "Ready") {
                self.reason = "Running".to_owned();
            } else if let Some(failure) = failure {
                self.reason = failure;
            } else if running {
                self.reason = "NotReady".to_owned();
            }
        }
    }
}

/// Init containers that run as long as the pod.
fn is_sidecar(spec: &Value) -> bool {
    text(spec, "restartPolicy") == "Always"
}

fn phase(pod: &Object) -> String {
    let gated = list(pod, "status.conditions").iter().any(|condition| {
        text(condition, "type") == "PodScheduled" && text(condition, "reason") == "SchedulingGated"
    });
    match some_text(pod, "status.reason") {
        _ if gated => "SchedulingGated",
        Some(reason) => reason,
        None => text(pod, "status.phase"),
    }
    .to_owned()
}

/// Why a container ended.
fn end(terminated: &Value) -> String {
    match (some_text(terminated, "reason"), number(terminated, "signal")) {
        (Some(reason), _) => reason.to_owned(),
        (None, 0) => format!("ExitCode:{}", number(terminated, "exitCode")),
        (None, signal) => format!("Signal:{signal}"),
    }
}
