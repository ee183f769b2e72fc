//! The small kinds of the core group.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, count, list, quantity, text};
use super::{endpoints, events, nodes, services, storage, workloads};

/// The columns of a core kind.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Service" => services::SERVICE,
        "Node" => nodes::NODE,
        "Event" => events::EVENT,
        "Endpoints" => endpoints::ENDPOINTS,
        "Namespace" => NAMESPACE,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "ReplicationController" => workloads::REPLICATION_CONTROLLER,
        "PodTemplate" => workloads::POD_TEMPLATE,
        "PersistentVolume" => storage::PERSISTENT_VOLUME,
        "PersistentVolumeClaim" => storage::PERSISTENT_VOLUME_CLAIM,
        "ResourceQuota" => RESOURCE_QUOTA,
        "ComponentStatus" => COMPONENT_STATUS,
        "Status" => STATUS,
        _ => return None,
    })
}

const NAMESPACE: &[Column] = &[
    NAME,
    Column::text("Status", "whether it lives or is being deleted", Cell::Text("status.phase")),
    AGE,
];

const CONFIG_MAP: &[Column] = &[
    NAME,
    Column::text(
        "Data",
        "how many entries",
        Cell::Made(|row| (count(row.item, "data") + count(row.item, "binaryData")).into()),
    ),
    AGE,
];

const SECRET: &[Column] = &[
    NAME,
    Column::text("Type", "what it is for", Cell::Text("type")),
    Column::text("Data", "how many entries", Cell::Count("data")),
    AGE,
];

const SERVICE_ACCOUNT: &[Column] = &[NAME, AGE];

const RESOURCE_QUOTA: &[Column] = &[
    NAME,
    Column::text("Request", "used of what may be asked for", Cell::Made(|row| quota(row, false))),
    Column::text("Limit", "used of what limits may add up to", Cell::Made(|row| quota(row, true))),
    AGE,
];

const COMPONENT_STATUS: &[Column] = &[
    NAME,
    Column::text("Status", "healthy or not", Cell::Made(health)),
    Column::text("Message", "what it says of itself", Cell::Made(|row| healthy(row, "message"))),
    Column::text("Error", "what is wrong", Cell::Made(|row| healthy(row, "error"))),
];

const STATUS: &[Column] = &[
    Column::text("Status", "success or failure", Cell::Text("status")),
    Column::text("Reason", "one word on the failure", Cell::Text("reason")),
    Column::text("Message", "the failure in words", Cell::Text("message")),
];

fn quota(row: &Row, limits: bool) -> Value {
    let hard = at(row.item, "status.hard").as_object();
    let mut names: Vec<&String> = hard.into_iter().flat_map(|hard| hard.keys()).collect();
    names.retain(|name| name.starts_with("limits.") == limits);
    names.sort_unstable();
    let amount =
        |list: &str, name: &str| quantity(at(row.item, list).get(name).unwrap_or(&Value::Null));
    let shown = |name: &&String| {
        format!("{name}: {}/{}", amount("status.used", name), amount("status.hard", name))
    };
    names.iter().map(shown).collect::<Vec<_>>().join(", ").into()
}

fn health_condition<'a>(row: &Row<'a>) -> Option<&'a Value> {
    list(row.item, "conditions").iter().find(|condition| text(condition, "type") == "Healthy")
}

fn health(row: &Row) -> Value {
    match health_condition(row).map(|condition| text(condition, "status")) {
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    }
    .into()
}

fn healthy(row: &Row, field: &str) -> Value {
    health_condition(row).map_or("", |condition| text(condition, field)).into()
}
