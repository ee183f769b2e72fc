//! Pods and their templates.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::syntax;
use crate::validate::meta::{labels_and_annotations, labels_entry};
use crate::validate::path::Path;
use crate::validate::rules::check_amounts;

use super::{items, text};

pub(super) fn template(
    template: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    if let Some(metadata) = template.get("metadata").and_then(Value::as_object) {
        labels_and_annotations(metadata, &path.child("metadata"), errors);
    }
}

pub(super) fn spec(spec: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    let policies = ["Always", "OnFailure", "Never"];
    let policy = text(spec, "restartPolicy");
    if !policies.contains(&policy) {
        errors.push(FieldError::not_supported(path.child("restartPolicy"), policy, &policies));
    }
    for (key, value) in spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        labels_entry(key, value, &path.child("nodeSelector"), errors);
    }
    dns(spec, path, errors);
    let volumes = unique_names(spec, "volumes", &mut BTreeSet::new(), path, errors);
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        unique_names(spec, list, &mut names, path, errors);
        for (index, container) in items(spec, list).enumerate() {
            let at = path.child(&format!("{list}[{index}]"));
            mounts(container, &volumes, &at, errors);
            if list == "containers" {
                host_ports(container, &mut ports, &at, errors);
            }
        }
    }
}

fn dns(spec: &Map<String, Value>, path: &Path, errors: &mut Vec<FieldError>) {
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    let policy = text(spec, "dnsPolicy");
    if !policies.contains(&policy) {
        errors.push(FieldError::not_supported(path.child("dnsPolicy"), policy, &policies));
    } else if policy == "None" {
        let servers = spec.get("dnsConfig").map(|config| config["nameservers"].as_array());
        if servers.is_none() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(path.child("dnsConfig"), detail));
        } else if servers.flatten().is_none_or(Vec::is_empty) {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(path.child("dnsConfig.nameservers"), detail));
        }
    }
}

/// Reports names that come twice; returns all of them.
fn unique_names<'a>(
    spec: &'a Map<String, Value>,
    list: &str,
    seen: &mut BTreeSet<&'a str>,
    path: &Path,
    errors: &mut Vec<FieldError>,
) -> BTreeSet<&'a str> {
    for (index, item) in items(spec, list).enumerate() {
        let name = item["name"].as_str().unwrap_or_default();
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child(&format!("{list}[{index}].name")), name));
        }
    }
    seen.clone()
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, at: &str, errors: &mut Vec<FieldError>) {
    let mut paths = BTreeSet::new();
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let name = mount["name"].as_str().unwrap_or_default();
        if !name.is_empty() && !volumes.contains(name) {
            errors.push(FieldError::not_found(format!("{at}.volumeMounts[{index}].name"), name));
        }
        let target = mount["mountPath"].as_str().unwrap_or_default();
        if !target.is_empty() && !paths.insert(target) {
            let at = format!("{at}.volumeMounts[{index}].mountPath");
            errors.push(FieldError::invalid(at, target, "must be unique"));
        }
    }
}

fn host_ports(
    container: &Value,
    seen: &mut BTreeSet<String>,
    at: &str,
    errors: &mut Vec<FieldError>,
) {
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let Some(number) = port["hostPort"].as_i64() else { continue };
        let part = |field: &str| port[field].as_str().unwrap_or_default();
        let key = format!("{}/{}/{number}", part("protocol"), part("hostIP"));
        if !seen.insert(key.clone()) {
            errors.push(FieldError::duplicate(format!("{at}.ports[{index}].hostPort"), key));
        }
    }
}

pub(super) fn container(
    container: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    for probe in ["livenessProbe", "startupProbe"] {
        let threshold = container.get(probe).and_then(|probe| probe["successThreshold"].as_i64());
        if let Some(threshold) = threshold.filter(|threshold| *threshold != 1) {
            let at = path.child(&format!("{probe}.successThreshold"));
            errors.push(FieldError::invalid(at, threshold, "must be 1"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(found) = container.get(probe) else { continue };
        handler(found, &["exec", "grpc", "httpGet", "tcpSocket"], &path.child(probe), errors);
    }
    for event in ["postStart", "preStop"] {
        let Some(found) = container.get("lifecycle").and_then(|lifecycle| lifecycle.get(event))
        else {
            continue;
        };
        let at = path.child(&format!("lifecycle.{event}"));
        handler(found, &["exec", "httpGet", "sleep", "tcpSocket"], &at, errors);
    }
}

/// A probe or an event has exactly one handler.
fn handler(found: &Value, handlers: &[&str], at: &str, errors: &mut Vec<FieldError>) {
    let told: Vec<&&str> =
        handlers.iter().filter(|handler| found.get(**handler).is_some()).collect();
    if told.is_empty() {
        errors.push(FieldError::required(at, "must specify a handler type"));
    }
    for handler in told.iter().skip(1) {
        let detail = "may not specify more than 1 handler type";
        errors.push(FieldError::forbidden(format!("{at}.{handler}"), detail));
    }
}

pub(super) fn toleration(
    toleration: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
    if !key.is_empty() {
        let wrong = syntax::qualified_name(key).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(path.child("key"), key, why)));
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(path.child("operator"), operator, detail));
    }
    let effect = text(toleration, "effect");
    if toleration.contains_key("tolerationSeconds") && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(path.child("effect"), effect, detail));
    }
    match operator {
        "" | "Equal" => {
            let value = text(toleration, "value");
            let wrong = syntax::label_value(value).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(path.child("operator"), value, why)));
        }
        "Exists" if !text(toleration, "value").is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            let value = text(toleration, "value");
            errors.push(FieldError::invalid(path.child("operator"), value, detail));
        }
        "Exists" => {}
        other => {
            let known = ["Equal", "Exists"];
            errors.push(FieldError::not_supported(path.child("operator"), other, &known));
        }
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect) {
        errors.push(FieldError::not_supported(path.child("effect"), effect, &effects));
    }
}

pub(super) fn spread_constraint(
    constraint: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let skew = constraint.get("maxSkew").and_then(Value::as_i64).unwrap_or_default();
    if skew <= 0 {
        errors.push(FieldError::invalid(path.child("maxSkew"), skew, "must be greater than zero"));
    }
    if text(constraint, "topologyKey").is_empty() {
        errors.push(FieldError::required(path.child("topologyKey"), "can not be empty"));
    }
    let (action, known) =
        (text(constraint, "whenUnsatisfiable"), ["DoNotSchedule", "ScheduleAnyway"]);
    if !known.contains(&action) {
        errors.push(FieldError::not_supported(path.child("whenUnsatisfiable"), action, &known));
    }
}

/// Amounts are not negative, and nobody requests more than the limit.
pub(super) fn resources(
    resources: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    for list in ["limits", "requests"] {
        check_amounts(resources.get(list).unwrap_or(&Value::Null), &path.child(list), errors);
    }
    let parse = |value: &Value| Quantity::parse(value.as_str()?).ok();
    for (name, request) in
        resources.get("requests").and_then(Value::as_object).into_iter().flatten()
    {
        let Some(limit) = resources.get("limits").and_then(|limits| limits.get(name)) else {
            continue;
        };
        let (Some(wanted), Some(most)) = (parse(request), parse(limit)) else { continue };
        let negative = most.is_negative() || wanted.is_negative();
        if wanted > most && !negative {
            let detail = format!("must be less than or equal to {name} limit of {most}");
            errors.push(FieldError::invalid(path.child("requests"), request.clone(), detail));
        }
    }
}
