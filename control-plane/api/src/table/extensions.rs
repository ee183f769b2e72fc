//! What adds to the API: custom resource definitions and API services.

use serde_json::Value;

use super::column::{AGE, CREATED_AT, Cell, Column, NAME, Row};
use super::tree::{at, condition, flag, is_true, list, some_text, text};

/// The columns of a kind in apiextensions.k8s.io or apiregistration.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "CustomResourceDefinition" => DEFINITION,
        "APIService" => API_SERVICE,
        _ => return None,
    })
}

const DEFINITION: &[Column] = &[
    NAME,
    Column::text("Scope", "cluster or namespaced", Cell::Text("spec.scope")),
    Column::text("Versions", "versions that are served", Cell::Made(versions)),
    CREATED_AT,
    Column::text("Group", "the group", Cell::Text("spec.group")).wide(),
    Column::text("Kind", "the kind", Cell::Text("spec.names.kind")).wide(),
    Column::text("ShortNames", "its short names", Cell::Made(short_names)).wide(),
    Column::boolean(
        "Established",
        "whether it is served",
        Cell::Made(|row| is_true(row.item, "Established").into()),
    )
    .wide(),
];

const API_SERVICE: &[Column] = &[
    NAME,
    Column::text("Service", "who serves it", Cell::Made(service)),
    Column::text("Available", "whether it can be reached", Cell::Made(available)),
    AGE,
];

fn versions(row: &Row) -> Value {
    let served = list(row.item, "spec.versions").iter().filter(|version| flag(version, "served"));
    let mut names: Vec<String> = served
        .map(|version| {
            let storage = if flag(version, "storage") { "(storage)" } else { "" };
            format!("{}{storage}", text(version, "name"))
        })
        .collect();
    names.sort_unstable();
    names.join(",").into()
}

fn short_names(row: &Row) -> Value {
    let names = list(row.item, "spec.names.shortNames").iter().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(",").into()
}

fn service(row: &Row) -> Value {
    let service = at(row.item, "spec.service");
    match service.is_null() {
        true => "Local".into(),
        false => format!("{}/{}", text(service, "namespace"), text(service, "name")).into(),
    }
}

fn available(row: &Row) -> Value {
    let Some(condition) = condition(row.item, "Available") else { return "Unknown".into() };
    match (text(condition, "status"), some_text(condition, "reason")) {
        (status, Some(reason)) if status != "True" => format!("{status} ({reason})").into(),
        (status, _) => status.into(),
    }
}
