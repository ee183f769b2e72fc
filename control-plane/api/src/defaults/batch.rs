//! Hooks of the group batch.

use serde_json::{Map, Value};

use super::{Hook, child, set};

pub(super) fn hook(ty: &str) -> Option<Hook> {
    Some(match ty {
        "batch.Job" => job,
        _ => return None,
    })
}

fn job(job: &mut Map<String, Value>) {
    let spec = child(job, "spec");
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    let per_index = spec.contains_key("backoffLimitPerIndex");
    set(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "manualSelector", false);
    let policy = spec.contains_key("podFailurePolicy");
    set(spec, "podReplacementPolicy", if policy { "Failed" } else { "TerminatingOrFailed" });
    let labels =
        spec.get("template").and_then(|template| template["metadata"]["labels"].as_object());
    if let Some(labels) = labels.cloned() {
        set(child(job, "metadata"), "labels", Value::Object(labels));
    }
}
