//! The scale subresource: replicas of kinds that have them, read and written as autoscaling/v1 Scale.

use serde_json::{Map, json};

use crate::Object;
use crate::names::GroupVersionKind;
use crate::registry::builtin;
use crate::selector::LabelSelector;

/// The Scale of an object; `None` for a kind that has none.
pub fn read(gvk: &GroupVersionKind, object: &Object) -> Option<Object> {
    builtin().resource_of_kind(gvk)?.subresource("scale")?;
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut status =
        json!({ "replicas": object["status"]["replicas"].as_i64().unwrap_or_default() });
    let selector = selector(gvk, object);
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or_default();
    Some(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": if replicas == 0 { json!({}) } else { json!({ "replicas": replicas }) },
        "status": status,
    }))
}

/// Takes the wanted replicas of a Scale over into its object, and the version it builds on.
pub fn write(object: &mut Object, scale: &Object) {
    object["spec"]["replicas"] = scale["spec"]["replicas"].as_i64().unwrap_or_default().into();
    if let Some(version) = scale["metadata"].get("resourceVersion").filter(|version| *version != "")
    {
        object["metadata"]["resourceVersion"] = version.clone();
    }
}

/// A replication controller's selector is a map, everybody else's an object.
fn selector(gvk: &GroupVersionKind, object: &Object) -> String {
    let selector = &object["spec"]["selector"];
    let tree = if gvk.kind == "ReplicationController" {
        json!({ "matchLabels": selector })
    } else {
        selector.clone()
    };
    let Ok(mut selector) = LabelSelector::from_value(&tree) else { return String::new() };
    for requirement in &mut selector.requirements {
        if requirement.operator == crate::selector::Operator::In && requirement.values.len() == 1 {
            requirement.operator = crate::selector::Operator::Equals;
        }
    }
    selector.requirements.sort_by(|a, b| a.key.cmp(&b.key));
    selector.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_and_written() {
        let gvk = GroupVersionKind::new("apps", "v1", "Deployment");
        let mut object = json!({
            "metadata": { "name": "a", "namespace": "b", "resourceVersion": "7" },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } } },
            "status": { "replicas": 2 },
        });
        let mut scale = read(&gvk, &object).expect("deployments scale");
        assert_eq!(scale["status"], json!({ "replicas": 2, "selector": "app=web" }));
        scale["spec"]["replicas"] = 5.into();
        write(&mut object, &scale);
        assert_eq!(object["spec"]["replicas"], 5);
        let pod = GroupVersionKind::new("", "v1", "Pod");
        assert_eq!(read(&pod, &object), None);
    }
}
