//! Events, of the core group and of events.k8s.io, which names the same fields otherwise.

use serde_json::Value;

use super::age;
use super::column::{Cell, Column, NAME, Row};
use super::tree::{at, number, some_text, text};

pub(super) const EVENT: &[Column] = &[
    Column::text("Last Seen", "time since it was seen last", Cell::Made(|row| last(row).into())),
    Column::text("Type", "normal or a warning", Cell::Text("type")),
    Column::text("Reason", "one word on what happened", Cell::Text("reason")),
    Column::text("Object", "what it happened to", Cell::Made(object)),
    Column::text("Subobject", "the part of the object", Cell::Made(part)).wide(),
    Column::text("Source", "who reports it", Cell::Made(source)).wide(),
    Column::text("Message", "what happened", Cell::Made(message)),
    Column::text("First Seen", "time since it was seen first", Cell::Made(|row| first(row).into()))
        .wide(),
    Column::text("Count", "how often it was seen", Cell::Made(count)).wide(),
    NAME.wide(),
];

/// The first of these fields that is there.
fn either<'a>(row: &Row<'a>, paths: [&str; 2]) -> &'a Value {
    let [core, newer] = paths.map(|path| at(row.item, path));
    if core.is_null() { newer } else { core }
}

fn first(row: &Row) -> String {
    let first = either(row, ["firstTimestamp", "deprecatedFirstTimestamp"]);
    age::since(if first.is_null() { at(row.item, "eventTime") } else { first }, row.now)
}

fn last(row: &Row) -> String {
    if at(row.item, "series").is_object() {
        return row.since("series.lastObservedTime");
    }
    let last = either(row, ["lastTimestamp", "deprecatedLastTimestamp"]);
    if last.is_null() { first(row) } else { age::since(last, row.now) }
}

fn count(row: &Row) -> Value {
    if at(row.item, "series").is_object() {
        return number(row.item, "series.count").into();
    }
    // Events that do not repeat carry no count.
    either(row, ["count", "deprecatedCount"])
        .as_i64()
        .filter(|count| *count != 0)
        .unwrap_or(1)
        .into()
}

fn object(row: &Row) -> Value {
    let object = either(row, ["involvedObject", "regarding"]);
    let kind = text(object, "kind").to_lowercase();
    match some_text(object, "name") {
        Some(name) => format!("{kind}/{name}").into(),
        None => kind.into(),
    }
}

fn part(row: &Row) -> Value {
    text(either(row, ["involvedObject", "regarding"]), "fieldPath").into()
}

fn source(row: &Row) -> Value {
    let source = either(row, ["source", "deprecatedSource"]);
    let reporter = either(row, ["reportingComponent", "reportingController"]);
    let component = some_text(source, "component").or(reporter.as_str()).unwrap_or_default();
    let host = some_text(source, "host").or(some_text(row.item, "reportingInstance"));
    match host {
        Some(host) => format!("{component}, {host}").into(),
        None => component.into(),
    }
}

fn message(row: &Row) -> Value {
    either(row, ["message", "note"]).as_str().unwrap_or_default().trim().into()
}
