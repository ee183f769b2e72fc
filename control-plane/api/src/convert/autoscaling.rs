//! Autoscalers of version 1, which know one metric, and of version 2. What version 1 has no field for it
//! carries in upstream's annotations, so that nothing is lost on the way there and back.

use serde_json::{Map, Value, json};

use crate::Object;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A metric's fields: path in version 2, name in version 1.
const FIELDS: [(&str, &str, &str); 9] = [
    ("metric", "name", "metricName"),
    ("metric", "selector", "selector"),
    ("target", "averageUtilization", "targetAverageUtilization"),
    ("target", "averageValue", "targetAverageValue"),
    ("target", "value", "targetValue"),
    ("current", "averageUtilization", "currentAverageUtilization"),
    ("current", "averageValue", "currentAverageValue"),
    ("current", "value", "currentValue"),
    ("", "describedObject", "target"),
];

/// Parts of a metric that version 1 does not nest.
const NESTED: [&str; 4] = ["current", "describedObject", "metric", "target"];

/// Sources of metrics, by their field.
const SOURCES: [&str; 5] = ["containerResource", "external", "object", "pods", "resource"];

pub(super) fn to_v2(object: &mut Object) {
    let mut metrics: Vec<Value> = take_annotation(object, METRICS)
        .and_then(|list| Some(list.as_array()?.iter().map(metric_to_v2).collect()))
        .unwrap_or_default();
    if let Some(percent) = take(object, "spec", "targetCPUUtilizationPercentage") {
        metrics.push(cpu("target", &percent));
    }
    if metrics.is_empty() {
        metrics.push(cpu("target", &80.into()));
    }
    put(object, "spec", "metrics", metrics.into());
    if let Some(behavior) = take_annotation(object, BEHAVIOR) {
        put(object, "spec", "behavior", with_keys(behavior, first_lower));
    }
    let percent = take(object, "status", "currentCPUUtilizationPercentage");
    let current = take_annotation(object, CURRENT_METRICS)
        .and_then(|list| Some(list.as_array()?.iter().map(metric_to_v2).collect::<Vec<_>>()));
    if let Some(current) = current.or_else(|| percent.map(|percent| vec![cpu("current", &percent)]))
    {
        put(object, "status", "currentMetrics", current.into());
    }
    if let Some(conditions) = take_annotation(object, CONDITIONS) {
        put(object, "status", "conditions", conditions);
    }
}

pub(super) fn to_v1(object: &mut Object) {
    let list = |value: Option<Value>| match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let (mut others, mut percent) = (Vec::new(), None);
    for metric in list(take(object, "spec", "metrics")) {
        let target = &metric["resource"]["target"]["averageUtilization"];
        if is_cpu(&metric) && !target.is_null() {
            percent.get_or_insert(target.clone());
        } else {
            others.push(metric_to_v1(&metric));
        }
    }
    if let Some(percent) = percent {
        put(object, "spec", "targetCPUUtilizationPercentage", percent);
    }
    annotate(object, METRICS, others);
    let current = list(take(object, "status", "currentMetrics"));
    let used = current.iter().find(|metric| is_cpu(metric));
    if let Some(used) =
        used.and_then(|metric| metric["resource"]["current"].get("averageUtilization"))
    {
        put(object, "status", "currentCPUUtilizationPercentage", used.clone());
    }
    annotate(object, CURRENT_METRICS, current.iter().map(metric_to_v1).collect());
    let conditions = list(take(object, "status", "conditions"));
    annotate(object, CONDITIONS, conditions);
    if let Some(behavior) = take(object, "spec", "behavior") {
        set_annotation(object, BEHAVIOR, &with_keys(behavior, first_upper));
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn cpu(part: &str, percent: &Value) -> Value {
    let mut values = json!({ "averageUtilization": percent });
    if part == "target" {
        values["type"] = "Utilization".into();
    }
    json!({ "type": "Resource", "resource": { "name": "cpu", part: values } })
}

fn metric_to_v1(metric: &Value) -> Value {
    let mut flat = json!({ "type": metric["type"] });
    for source in SOURCES {
        let Some(from) = metric.get(source) else { continue };
        let mut to = Map::new();
        if let Some(plain) = from.as_object() {
            let plain = plain.iter().filter(|(key, _)| !NESTED.contains(&key.as_str()));
            to.extend(plain.map(|(key, value)| (key.clone(), value.clone())));
        }
        for (part, field, name) in FIELDS {
            let holder = if part.is_empty() { from } else { &from[part] };
            if let Some(value) = holder.get(field) {
                to.insert(name_in(source, name).to_owned(), value.clone());
            }
        }
        flat[source] = Value::Object(to);
    }
    flat
}

fn metric_to_v2(metric: &Value) -> Value {
    let mut deep = json!({ "type": metric["type"] });
    for source in SOURCES {
        let Some(from) = metric.get(source) else { continue };
        let mut to = json!({});
        if let Some(resource) = from.get("name") {
            to["name"] = resource.clone();
        }
        if let Some(container) = from.get("container") {
            to["container"] = container.clone();
        }
        for (part, field, name) in FIELDS {
            let Some(value) = from.get(name_in(source, name)) else { continue };
            if part.is_empty() {
                to[field] = value.clone();
                continue;
            }
            if part == "target" {
                to[part]["type"] = match field {
                    "averageUtilization" => "Utilization",
                    "averageValue" => "AverageValue",
                    _ => "Value",
                }
                .into();
            }
            to[part][field] = value.clone();
        }
        deep[source] = to;
    }
    deep
}

/// Version 1 calls two fields otherwise in some sources.
fn name_in(source: &str, name: &'static str) -> &'static str {
    match (source, name) {
        ("external", "selector") => "metricSelector",
        ("object", "targetAverageValue" | "currentAverageValue") => "averageValue",
        _ => name,
    }
}

fn take(object: &mut Object, parent: &str, field: &str) -> Option<Value> {
    object.get_mut(parent)?.as_object_mut()?.remove(field)
}

fn put(object: &mut Object, parent: &str, field: &str, value: Value) {
    object[parent][field] = value;
}

fn take_annotation(object: &mut Object, name: &str) -> Option<Value> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        take(object, "metadata", "annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn annotate(object: &mut Object, name: &str, list: Vec<Value>) {
    if !list.is_empty() {
        set_annotation(object, name, &Value::Array(list));
    }
}

fn set_annotation(object: &mut Object, name: &str, value: &Value) {
    object["metadata"]["annotations"][name] = value.to_string().into();
}

/// Upstream writes the behaviour with Go's own names.
fn with_keys(value: Value, rename: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (rename(&key), with_keys(value, rename))).collect()
        }
        Value::Array(list) => list.into_iter().map(|item| with_keys(item, rename)).collect(),
        other => other,
    }
}

fn first_upper(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}

fn first_lower(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_lowercase).chain(text.chars().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cpu_metric_is_a_field_of_version_1() {
        let mut object = json!({ "metadata": {}, "spec": { "maxReplicas": 3, "targetCPUUtilizationPercentage": 50 } });
        let v1 = object.clone();
        to_v2(&mut object);
        assert_eq!(object["spec"]["metrics"], json!([cpu("target", &50.into())]));
        to_v1(&mut object);
        assert_eq!(object, v1);
    }

    #[test]
    fn what_version_1_cannot_say_survives_in_annotations() {
        let v2 = json!({
            "metadata": { "name": "a" },
            "spec": {
                "behavior": { "scaleDown": { "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 9 }] } },
                "metrics": [
                    { "type": "Pods", "pods": {
                        "metric": { "name": "qps" }, "target": { "type": "AverageValue", "averageValue": "1k" },
                    } },
                    { "type": "Resource", "resource": {
                        "name": "memory", "target": { "type": "Utilization", "averageUtilization": 70 },
                    } },
                    cpu("target", &80.into()),
                ],
            },
            "status": {
                "conditions": [{ "type": "AbleToScale", "status": "True" }],
                "currentMetrics": [cpu("current", &42.into())],
            },
        });
        let mut object = v2.clone();
        to_v1(&mut object);
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 42);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 80);
        to_v2(&mut object);
        assert_eq!(object, v2);
    }
}
