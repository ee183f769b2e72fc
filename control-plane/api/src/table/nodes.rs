//! Nodes: ready or not, and what they run.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{entries, flag, list, some_text, text};

pub(super) const NODE: &[Column] = &[
    NAME,
    Column::text("Status", "ready or not", Cell::Made(status)),
    Column::text("Roles", "from its labels", Cell::Made(roles)),
    AGE,
    Column::text("Version", "the kubelet's", Cell::Text("status.nodeInfo.kubeletVersion")),
    Column::text("Internal-IP", "in the cluster", Cell::Made(|row| address(row, "InternalIP")))
        .wide(),
    Column::text("External-IP", "from outside", Cell::Made(|row| address(row, "ExternalIP")))
        .wide(),
    Column::text(
        "OS-Image",
        "the operating system",
        Cell::TextOr("status.nodeInfo.osImage", "<unknown>"),
    )
    .wide(),
    Column::text("Kernel-Version", "the kernel", Cell::Made(kernel)).wide(),
    Column::text(
        "Container-Runtime",
        "what runs its containers",
        Cell::TextOr("status.nodeInfo.containerRuntimeVersion", "<unknown>"),
    )
    .wide(),
];

fn status(row: &Row) -> Value {
    // The last one counts, should there be several.
    let mut conditions = list(row.item, "status.conditions").iter().rev();
    let ready = conditions.find(|condition| text(condition, "type") == "Ready");
    let status = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match flag(row.item, "spec.unschedulable") {
        true => format!("{status},SchedulingDisabled").into(),
        false => status.into(),
    }
}

fn roles(row: &Row) -> Value {
    let role = |(key, value)| match key {
        "kubernetes.io/role" => value,
        _ => str::strip_prefix(key, "node-role.kubernetes.io/").unwrap_or_default(),
    };
    let labels = entries(row.item, "metadata.labels");
    let mut roles: Vec<&str> =
        labels.into_iter().map(role).filter(|role| !role.is_empty()).collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",").into() }
}

fn address(row: &Row, kind: &str) -> Value {
    let mut addresses = list(row.item, "status.addresses").iter();
    let found = addresses.find(|address| text(address, "type") == kind);
    found.map_or("<none>", |address| text(address, "address")).into()
}

fn kernel(row: &Row) -> Value {
    let version = some_text(row.item, "status.nodeInfo.kernelVersion").unwrap_or("<unknown>");
    match some_text(row.item, "status.nodeInfo.architecture") {
        Some(architecture) => format!("{version} ({architecture})").into(),
        None => version.into(),
    }
}
