//! Hooks of the group apps.

use crate::Object;

use super::child;

/// The deprecated counter of templates, which version 1 keeps in an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn create_daemon_set(object: &mut Object) {
    let told = generation(object);
    set_generation(object, told.max(1));
}

pub(super) fn update_daemon_set(object: &mut Object, old: &Object) {
    let changed = object["spec"]["template"] != old["spec"]["template"];
    set_generation(object, generation(old) + i64::from(changed));
}

fn generation(object: &Object) -> i64 {
    let text = object["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_generation(object: &mut Object, generation: i64) {
    child(object, "metadata");
    let annotations = child(&mut object["metadata"], "annotations");
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
}
