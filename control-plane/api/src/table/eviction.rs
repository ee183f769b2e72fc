//! Evictions and the requests that lead to them.

use serde_json::Value;

use super::age;
use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, condition, is_true, list, number, text};

/// The columns of a kind in lifecycle.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "EvictionRequest" => REQUEST,
        "Eviction" => EVICTION,
        _ => return None,
    })
}

const TARGET: Column = Column::text("Target", "what has to go", Cell::Made(target));
const TARGET_TYPE: Column = Column::text("Target Type", "its kind", Cell::Made(target_type));
const STATUS: Column = Column::text("Status", "how far it is", Cell::Made(status));

const REQUEST: &[Column] = &[
    NAME,
    TARGET,
    TARGET_TYPE,
    STATUS,
    Column::text("Requester", "who asks", Cell::Text("spec.requester")),
    Column::text("Intent", "whether it still asks", Cell::Text("spec.intent")),
    AGE,
];

const EVICTION: &[Column] = &[
    NAME,
    TARGET,
    TARGET_TYPE,
    STATUS,
    Column::text("Active Responder", "who is at it", Cell::Made(active_responder)),
    Column::text("Responder Status", "how far it is", Cell::Made(responder_status)),
    Column::text("Responder Expected Finish", "when it wants to be done", Cell::Made(finish)),
    Column::text("Requesters", "who asks", Cell::Made(requesters)),
    AGE,
    Column::text("Responder Heartbeat", "time since it was heard of", Cell::Made(heartbeat)).wide(),
    Column::text("Responder Status Message", "what it says", Cell::Made(message)).wide(),
];

const UNSET: &str = "<unset>";

fn target(row: &Row) -> Value {
    at(row.item, "spec.target.pod.name").as_str().unwrap_or(UNSET).into()
}

fn target_type(row: &Row) -> Value {
    if at(row.item, "spec.target.pod").is_null() { UNSET } else { "Pod" }.into()
}

fn status(row: &Row) -> Value {
    for kind in ["TargetEvicted", "Failed"] {
        if let Some(condition) = condition(row.item, kind).filter(|_| is_true(row.item, kind)) {
            return format!("{kind} ({})", text(condition, "reason")).into();
        }
    }
    match number(row.item, "status.observedGeneration") {
        1.. => "Progressing".into(),
        _ => "Pending".into(),
    }
}

/// The responder that is at it; when all are through, the last one that was.
struct Responder<'a> {
    name: &'a str,
    state: &'a str,
    report: &'a Value,
}

fn is_through(state: &str) -> bool {
    matches!(state, "Canceled" | "Interrupted" | "Completed")
}

impl<'a> Responder<'a> {
    fn of(row: &Row<'a>) -> Option<Self> {
        let targets = list(row.item, "status.targetResponders");
        let last = |wanted: fn(&str) -> bool| {
            targets.iter().rev().find(|target| wanted(text(target, "state")))
        };
        let target = last(|state| state == "Active").or_else(|| last(is_through))?;
        let name = text(target, "name");
        let mut reports = list(row.item, "status.responders").iter();
        let report = reports.find(|report| text(report, "name") == name).unwrap_or(&Value::Null);
        Some(Self { name, state: text(target, "state"), report })
    }

    fn reporting(row: &Row<'a>) -> Option<Self> {
        Self::of(row).filter(|responder| responder.report.is_object())
    }
}

fn active_responder(row: &Row) -> Value {
    let targets = list(row.item, "status.targetResponders");
    let begun = |target: &&Value| {
        let state = text(target, "state");
        state == "Active" || is_through(state)
    };
    let name = Responder::of(row).map_or(UNSET, |responder| responder.name);
    format!("{name} ({}/{})", targets.iter().filter(begun).count(), targets.len()).into()
}

fn responder_status(row: &Row) -> Value {
    let Some(responder) = Responder::reporting(row) else { return UNSET.into() };
    let (word, time) = match responder.state {
        "Active" => ("Started", at(responder.report, "startTime")),
        "Completed" => ("Completed", at(responder.report, "completionTime")),
        state => return state.into(),
    };
    match time.is_null() {
        true => responder.state.into(),
        false => format!("{word} ({} ago)", age::since(time, row.now)).into(),
    }
}

fn finish(row: &Row) -> Value {
    const UNKNOWN: &str = "<unknown>";
    let Some(responder) = Responder::reporting(row) else { return UNKNOWN.into() };
    if is_through(responder.state) {
        return "-".into();
    }
    let expected = age::read(at(responder.report, "expectedCompletionTime"));
    match expected.filter(|_| !at(responder.report, "startTime").is_null()) {
        Some(expected) if expected > row.now => {
            format!("in {}", age::human(age::seconds_between(row.now, expected))).into()
        }
        Some(expected) => {
            format!("{} ago", age::human(age::seconds_between(expected, row.now))).into()
        }
        None => UNKNOWN.into(),
    }
}

fn requesters(row: &Row) -> Value {
    let all = list(row.item, "status.requesters");
    let asking = all.iter().filter(|requester| text(requester, "intent") != "Withdrawn");
    let mut names: Vec<&str> = asking.map(|requester| text(requester, "name")).collect();
    names.sort_unstable();
    match (names.as_slice(), all.is_empty()) {
        ([], true) => "<none>".into(),
        ([], false) => "<withdrawn>".into(),
        ([name], _) => (*name).into(),
        ([first, rest @ ..], _) => format!("{first} + {} more...", rest.len()).into(),
    }
}

fn heartbeat(row: &Row) -> Value {
    let time = Responder::reporting(row).map(|responder| at(responder.report, "heartbeatTime"));
    match time.filter(|time| !time.is_null()) {
        Some(time) => format!("{} ago", age::since(time, row.now)).into(),
        None => UNSET.into(),
    }
}

fn message(row: &Row) -> Value {
    let message =
        Responder::reporting(row).map(|responder| text(responder.report, "message").trim());
    message.filter(|message| !message.is_empty()).unwrap_or(UNSET).into()
}
