//! Devices: classes, claims, slices, taints.

use serde_json::Value;

use super::age;
use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, list, number, some_text, text};

/// The columns of a kind in resource.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "DeviceClass" | "ResourceClaimTemplate" => &[NAME, AGE],
        "ResourceClaim" => CLAIM,
        "ResourceSlice" => SLICE,
        "DeviceTaintRule" => TAINT_RULE,
        "ResourcePoolStatusRequest" => POOL_STATUS,
        _ => return None,
    })
}

const CLAIM: &[Column] =
    &[NAME, Column::text("State", "allocated, reserved, pending", Cell::Made(state)), AGE];

const SLICE: &[Column] = &[
    NAME,
    Column::text("Node", "where the devices are", Cell::Text("spec.nodeName")),
    Column::text("Driver", "who serves them", Cell::Text("spec.driver")),
    Column::text("Pool", "the pool it is a part of", Cell::Text("spec.pool.name")),
    AGE,
];

const TAINT_RULE: &[Column] = &[
    NAME,
    Column::text("Key", "the taint's key", Cell::Text("spec.taint.key")),
    Column::text("Value", "the taint's value", Cell::Text("spec.taint.value")),
    Column::text("Effect", "what it does to pods", Cell::Text("spec.taint.effect")),
    Column::text("TimeAdded", "time since it was added", Cell::Made(time_added)),
    AGE,
];

const POOL_STATUS: &[Column] = &[
    NAME,
    Column::text("Driver", "whose pools", Cell::Text("spec.driver")),
    Column::text("Total", "devices", Cell::Made(|row| devices(row, "totalDevices"))),
    Column::text("Available", "devices", Cell::Made(|row| devices(row, "availableDevices"))),
    Column::text("Allocated", "devices", Cell::Made(|row| devices(row, "allocatedDevices"))),
    Column::text("Unavailable", "devices", Cell::Made(|row| devices(row, "unavailableDevices"))),
    Column::text("Errors", "pools that are not valid", Cell::Made(invalid_pools)),
    Column::integer("Pools", "pools", Cell::Number("status.poolCount")),
    Column::text("Status", "how far it is", Cell::Made(pool_status)),
    Column::text("Completed", "time since it was answered", Cell::Made(completed)),
];

fn state(row: &Row) -> Value {
    let deleted = !at(row.item, "metadata.deletionTimestamp").is_null();
    let allocated = !at(row.item, "status.allocation").is_null();
    let reserved = !list(row.item, "status.reservedFor").is_empty();
    let states = [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (allocated && reserved, "reserved"),
    ];
    let states = states.iter().filter(|(holds, _)| *holds).map(|(_, state)| *state);
    states.collect::<Vec<_>>().join(",").into()
}

fn time_added(row: &Row) -> Value {
    match at(row.item, "spec.taint.timeAdded").is_null() {
        true => "".into(),
        false => row.since("spec.taint.timeAdded").into(),
    }
}

/// The condition that ends a request: the first one that is true.
fn outcome<'a>(row: &Row<'a>) -> Option<&'a Value> {
    list(row.item, "status.conditions").iter().find(|condition| {
        matches!(text(condition, "type"), "Complete" | "Failed")
            && text(condition, "status") == "True"
    })
}

fn answered(row: &Row) -> bool {
    let failed = outcome(row).is_some_and(|condition| text(condition, "type") == "Failed");
    at(row.item, "status").is_object() && !failed
}

fn devices(row: &Row, field: &str) -> Value {
    if !answered(row) {
        return "-".into();
    }
    let pools = list(row.item, "status.pools").iter();
    pools.map(|pool| number(pool, field)).sum::<i64>().to_string().into()
}

fn invalid_pools(row: &Row) -> Value {
    if !answered(row) {
        return "-".into();
    }
    let pools = list(row.item, "status.pools").iter();
    pools.filter(|pool| some_text(pool, "validationError").is_some()).count().to_string().into()
}

fn pool_status(row: &Row) -> Value {
    let status = outcome(row).map_or("Pending", |condition| text(condition, "type"));
    let (shown, all) = (list(row.item, "status.pools").len(), number(row.item, "status.poolCount"));
    match i64::try_from(shown) {
        Ok(shown) if status == "Complete" && all > shown => {
            format!("Complete ({shown}/{all} pools)").into()
        }
        _ => status.into(),
    }
}

fn completed(row: &Row) -> Value {
    match outcome(row) {
        Some(condition) if text(condition, "type") == "Complete" => {
            age::since(at(condition, "lastTransitionTime"), row.now).into()
        }
        _ => "<none>".into(),
    }
}
