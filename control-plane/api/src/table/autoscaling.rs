//! Autoscalers: what they measure, against what they aim at.

use serde_json::Value;

use crate::{GroupVersionKind, Object, convert};

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, list, quantity, text};

/// The columns of a kind in autoscaling.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "HorizontalPodAutoscaler" => HORIZONTAL,
        "Scale" => SCALE,
        _ => return None,
    })
}

const HORIZONTAL: &[Column] = &[
    NAME,
    Column::text("Reference", "what it scales", Cell::Made(reference)),
    Column::text("Targets", "measured and aimed at", Cell::Made(targets)),
    Column::text("MinPods", "fewest pods", Cell::Made(fewest)),
    Column::text("MaxPods", "most pods", Cell::Number("spec.maxReplicas")),
    Column::text("Replicas", "pods now", Cell::Number("status.currentReplicas")),
    AGE,
];

const SCALE: &[Column] = &[
    NAME.plain(),
    Column::integer("Desired", "pods wanted", Cell::Number("spec.replicas")),
    Column::integer("Available", "pods there are", Cell::Number("status.replicas")),
    AGE,
];

fn reference(row: &Row) -> Value {
    let target = at(row.item, "spec.scaleTargetRef");
    format!("{}/{}", text(target, "kind"), text(target, "name")).into()
}

fn fewest(row: &Row) -> Value {
    match at(row.item, "spec.minReplicas").as_i64() {
        Some(fewest) => fewest.to_string().into(),
        None => "<unset>".into(),
    }
}

fn targets(row: &Row) -> Value {
    const SHOWN: usize = 2;
    let newer = in_version_2(row);
    let autoscaler = newer.as_ref().unwrap_or(row.item);
    let statuses = list(autoscaler, "status.currentMetrics");
    let specs = list(autoscaler, "spec.metrics").iter().enumerate();
    let metrics: Vec<String> =
        specs.map(|(index, spec)| metric(spec, statuses.get(index))).collect();
    match metrics.len() {
        0 => "<none>".into(),
        more if more > SHOWN => {
            format!("{} + {} more...", metrics[..SHOWN].join(", "), more - SHOWN).into()
        }
        _ => metrics.join(", ").into(),
    }
}

/// Version 1 keeps all metrics but one in annotations.
fn in_version_2(row: &Row) -> Option<Object> {
    let [from, to] = ["v1", "v2"]
        .map(|version| GroupVersionKind::new("autoscaling", version, "HorizontalPodAutoscaler"));
    let is_older = text(row.item, "apiVersion") == from.api_version();
    is_older.then(|| convert::to(&from, &to, row.item.clone()).ok()).flatten()
}

const UNKNOWN: &str = "<unknown>";

/// One metric: `current/target`.
fn metric(spec: &Value, status: Option<&Value>) -> String {
    let source = match text(spec, "type") {
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let spec = at(spec, source);
    let status = status.map(|status| at(status, source)).filter(|status| status.is_object());
    let of_resource = source == "resource" || source == "containerResource";
    let name = if of_resource { format!("{}: ", text(spec, "name")) } else { String::new() };
    let average = at(spec, "target.averageValue");
    if !average.is_null() || source == "pods" {
        let current = status.map(|status| at(status, "current.averageValue"));
        // Where upstream's type has a pointer, absence is shown; elsewhere it is zero.
        let optional = source == "external" || source == "object";
        let current = current.filter(|current| !(optional && current.is_null()));
        let current = current.map_or_else(|| UNKNOWN.to_owned(), quantity);
        let mark = if optional { " (avg)" } else { "" };
        return format!("{name}{current}/{}{mark}", quantity(average));
    }
    if of_resource {
        let current = status.and_then(|status| percentage(status, "current.averageUtilization"));
        let target = percentage(spec, "target.averageUtilization");
        return format!(
            "{name}{}/{}",
            current.unwrap_or_else(|| UNKNOWN.to_owned()),
            target.unwrap_or_else(|| "<auto>".to_owned())
        );
    }
    let current =
        status.map_or_else(|| UNKNOWN.to_owned(), |status| quantity(at(status, "current.value")));
    format!("{current}/{}", quantity(at(spec, "target.value")))
}

fn percentage(value: &Value, path: &str) -> Option<String> {
    at(value, path).as_i64().map(|percentage| format!("{percentage}%"))
}
