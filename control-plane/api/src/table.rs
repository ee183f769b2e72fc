//! Objects as tables: the columns that kubectl shows, made here so that every client shows the same.
//! A kind's printer is a list of columns; what upstream prints is what these print, cell by cell.
//! Ages are told against a time that is passed in.

mod access;
mod admission;
mod age;
mod autoscaling;
mod column;
mod core;
mod endpoints;
mod events;
mod eviction;
mod extensions;
mod flow;
mod network;
mod nodes;
mod pods;
mod resources;
mod scheduling;
mod selector;
mod services;
mod storage;
mod tree;
mod workloads;

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;
use crate::names::GroupVersionKind;
use crate::registry::builtin;

use column::{AGE, CREATED_AT, Column, NAME, Row};

/// What a row carries besides its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// The object's metadata
    #[default]
    Metadata,
    /// The object
    Object,
    /// Nothing
    None,
}

impl FromStr for Include {
    type Err = String;

    /// Reads the query parameter `includeObject`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::None),
            _ => Err(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {text:?}: \
                 must be 'Metadata', 'Object', 'None', or empty"
            )),
        }
    }
}

/// How a kind is shown.
struct Printer {
    columns: &'static [Column],
    /// What a row says about its object as a whole
    conditions: Option<fn(&Row) -> Option<Value>>,
    /// The order of rows where it is not the list's
    order: Option<fn(&mut Vec<&Object>)>,
}

impl Printer {
    const fn new(columns: &'static [Column]) -> Self {
        Self { columns, conditions: None, order: None }
    }
}

/// A meta.k8s.io/v1 Table of `items`, which are all of kind `gvk`. `now` is what ages are told against;
/// `headers` is whether column definitions are wanted. The table's list metadata is the caller's to set.
pub fn render(
    gvk: &GroupVersionKind,
    items: &[&Object],
    now: Timestamp,
    include: Include,
    headers: bool,
) -> Value {
    let printer = printer(gvk);
    let mut items = items.to_vec();
    if let Some(order) = printer.order {
        order(&mut items);
    }
    let rows: Vec<Value> = items
        .iter()
        .map(|item| row(&printer, &Row { item, items: &items, now }, include))
        .collect();
    let mut table = json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {} });
    if headers {
        table["columnDefinitions"] = printer.columns.iter().map(Column::definition).collect();
    }
    table["rows"] = Value::Array(rows);
    table
}

/// The metadata of an object, as a meta.k8s.io/v1 PartialObjectMetadata.
pub fn partial_metadata(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

fn row(printer: &Printer, row: &Row, include: Include) -> Value {
    let cells: Vec<Value> = printer.columns.iter().map(|column| column.cell.of(row)).collect();
    let mut rendered = json!({ "cells": cells });
    if let Some(conditions) = printer.conditions.and_then(|conditions| conditions(row)) {
        rendered["conditions"] = conditions;
    }
    match include {
        Include::Metadata => rendered["object"] = partial_metadata(row.item),
        Include::Object => rendered["object"] = row.item.clone(),
        Include::None => {}
    }
    rendered
}

/// Kinds without columns of their own, as upstream shows them.
const PLAIN: &[Column] = &[NAME, CREATED_AT];
/// Kinds that are not built in.
const CUSTOM: &[Column] = &[NAME, AGE];

fn printer(gvk: &GroupVersionKind) -> Printer {
    let (group, kind) = (gvk.group.as_ref(), gvk.kind.as_ref());
    let columns = match (group, kind) {
        ("", "Pod") => {
            return Printer { conditions: Some(pods::conditions), ..Printer::new(pods::POD) };
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            return Printer { order: Some(flow::order), ..Printer::new(flow::FLOW_SCHEMA) };
        }
        ("", kind) => core::columns(kind),
        ("apps" | "batch", kind) => workloads::columns(kind),
        ("events.k8s.io", "Event") => Some(events::EVENT),
        ("discovery.k8s.io", "EndpointSlice") => Some(endpoints::ENDPOINT_SLICE),
        ("networking.k8s.io", kind) => network::columns(kind),
        ("rbac.authorization.k8s.io" | "certificates.k8s.io", kind) => access::columns(kind),
        ("storage.k8s.io" | "internal.apiserver.k8s.io" | "storagemigration.k8s.io", kind) => {
            storage::columns(kind)
        }
        ("admissionregistration.k8s.io", kind) => admission::columns(kind),
        ("autoscaling", kind) => autoscaling::columns(kind),
        ("scheduling.k8s.io" | "policy" | "node.k8s.io" | "coordination.k8s.io", kind) => {
            scheduling::columns(kind)
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            Some(flow::PRIORITY_LEVEL)
        }
        ("resource.k8s.io", kind) => resources::columns(kind),
        ("apiregistration.k8s.io" | "apiextensions.k8s.io", kind) => extensions::columns(kind),
        ("lifecycle.k8s.io", kind) => eviction::columns(kind),
        _ => None,
    };
    let otherwise = || if builtin().kind(gvk).is_some() { PLAIN } else { CUSTOM };
    Printer::new(columns.unwrap_or_else(otherwise))
}

#[cfg(test)]
mod tests;
