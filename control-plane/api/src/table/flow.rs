//! Flow schemas and priority levels.

use serde_json::Value;

use crate::Object;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, condition, number, text};

pub(super) const FLOW_SCHEMA: &[Column] = &[
    NAME,
    Column::text(
        "PriorityLevel",
        "the level of its requests",
        Cell::Text("spec.priorityLevelConfiguration.name"),
    ),
    Column::text(
        "MatchingPrecedence",
        "the lower, the earlier it is tried",
        Cell::Number("spec.matchingPrecedence"),
    ),
    Column::text(
        "DistinguisherMethod",
        "what tells its flows apart",
        Cell::TextOr("spec.distinguisherMethod.type", "<none>"),
    ),
    AGE,
    Column::text("MissingPL", "its priority level is missing", Cell::Made(dangling)),
];

pub(super) const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    Column::text("Type", "limited or exempt", Cell::Text("spec.type")),
    Column::text(
        "NominalConcurrencyShares",
        "its share of the seats",
        Cell::Made(|row| limited(row, "spec.limited", "nominalConcurrencyShares")),
    ),
    Column::text("Queues", "how many", Cell::Made(|row| limited(row, QUEUING, "queues"))),
    Column::text(
        "HandSize",
        "queues that a flow may use",
        Cell::Made(|row| limited(row, QUEUING, "handSize")),
    ),
    Column::text(
        "QueueLengthLimit",
        "requests that wait in a queue",
        Cell::Made(|row| limited(row, QUEUING, "queueLengthLimit")),
    ),
    AGE,
];

const QUEUING: &str = "spec.limited.limitResponse.queuing";

/// Flow schemas are listed in the order in which they are tried.
pub(super) fn order(schemas: &mut Vec<&Object>) {
    schemas.sort_by_key(|schema| {
        (number(schema, "spec.matchingPrecedence"), text(schema, "metadata.name"))
    });
}

fn dangling(row: &Row) -> Value {
    condition(row.item, "Dangling").map_or("?", |condition| text(condition, "status")).into()
}

fn limited(row: &Row, path: &str, field: &str) -> Value {
    let limits = at(row.item, path);
    if limits.is_null() { "<none>".into() } else { number(limits, field).into() }
}
