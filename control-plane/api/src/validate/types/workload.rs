//! What makes pods from a template.

use serde_json::{Map, Value};

use crate::selector::LabelSelector;
use crate::status::{FieldError, FieldErrorKind};
use crate::validate::path::Path;

use super::{items, text};

pub(super) fn deployment_spec(
    spec: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    workload(spec, "deployment", path, errors);
}

pub(super) fn daemon_set_spec(
    spec: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    workload(spec, "daemonset", path, errors);
}

pub(super) fn stateful_set_spec(
    spec: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    workload(spec, "statefulset", path, errors);
    // What a container may mount also comes from the claims.
    let claims: Vec<&Value> =
        items(spec, "volumeClaimTemplates").map(|claim| &claim["metadata"]["name"]).collect();
    errors.retain(|error| {
        error.kind != FieldErrorKind::NotFound
            || !error.value.as_ref().is_some_and(|name| claims.contains(&name))
    });
}

/// The selector is there, selects the template, and the template's pods never end.
fn workload(spec: &Map<String, Value>, kind: &str, path: &Path, errors: &mut Vec<FieldError>) {
    let none = Value::Null;
    let labels = spec.get("template").unwrap_or(&none)["metadata"]["labels"].as_object();
    match spec.get("selector") {
        None => errors.push(FieldError::required(path.child("selector"), "")),
        Some(selector) => match LabelSelector::from_value(selector) {
            Ok(parsed) if parsed.is_everything() => {
                let detail = format!("empty selector is invalid for {kind}");
                errors.push(FieldError::invalid(path.child("selector"), selector.clone(), detail));
            }
            Ok(parsed) if !parsed.matches(labels) => {
                let value = labels.map_or(Value::Null, |labels| Value::Object(labels.clone()));
                let detail = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid(
                    path.child("template.metadata.labels"),
                    value,
                    detail,
                ));
            }
            Ok(_) => {}
            Err(_) => {
                let detail = "invalid label selector";
                errors.push(FieldError::invalid(path.child("selector"), selector.clone(), detail));
            }
        },
    }
    let policy = restart_policy(spec);
    if policy != "Always" {
        let at = path.child("template.spec.restartPolicy");
        errors.push(FieldError::not_supported(at, policy, &["Always"]));
    }
}

/// A job's pods end.
pub(super) fn job_spec(spec: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    let at = || path.child("template.spec.restartPolicy");
    match restart_policy(spec) {
        "OnFailure" | "Never" => {}
        "" | "Always" => {
            errors.push(FieldError::required(at(), "valid values: \"OnFailure\", \"Never\""));
        }
        other => errors.push(FieldError::not_supported(at(), other, &["OnFailure", "Never"])),
    }
}

fn restart_policy(spec: &Map<String, Value>) -> &str {
    spec.get("template")
        .and_then(|template| template["spec"]["restartPolicy"].as_str())
        .unwrap_or_default()
}

pub(super) fn cron_job_spec(
    spec: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let schedule = text(spec, "schedule");
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if schedule.is_empty() || schedule.starts_with('@') {
        return;
    }
    if fields.len() != 5 {
        let detail =
            format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "));
        errors.push(FieldError::invalid(path.child("schedule"), schedule, detail));
    }
}
