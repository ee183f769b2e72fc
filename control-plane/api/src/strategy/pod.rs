//! Hooks of pods.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::Object;
use crate::go_time::format_time;
use crate::quantity::Quantity;

use super::{child, copy, keep};

pub(super) fn create(object: &mut Object, now: Timestamp) {
    let class = quality_of_service(object);
    let gated = object["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let status = child(object, "status");
    status.insert("phase".to_owned(), "Pending".into());
    status.insert("qosClass".to_owned(), class.into());
    if gated {
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "lastTransitionTime": format_time(now),
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        });
        status.insert("conditions".to_owned(), vec![condition].into());
    }
}

pub(super) fn update_status(object: &mut Object, old: &Object) {
    keep(object, old, "metadata", &["ownerReferences"]);
    let was = &old["status"];
    let status = child(object, "status");
    // Clients that do not know these fields must not take them away.
    let kept = [
        "qosClass",
        "resourceClaimStatuses",
        "extendedResourceClaimStatus",
        "nodeAllocatableResourceClaimStatuses",
        "observedGeneration",
    ];
    for field in kept {
        if let Some(value) = was.get(field).filter(|_| !status.contains_key(field)) {
            status.insert(field.to_owned(), value.clone());
        }
    }
}

/// A subresource that owns some fields of the spec.
pub(super) fn update_part(object: &mut Object, old: &Object, fields: &[&str]) {
    let told: Vec<Option<Value>> =
        fields.iter().map(|field| object["spec"].get(*field).cloned()).collect();
    let metadata = object["metadata"].take();
    *object = old.clone();
    child(object, "metadata");
    keep_version(object, &metadata);
    let spec = child(object, "spec");
    for (field, value) in fields.iter().zip(told) {
        match value {
            Some(value) => spec.insert((*field).to_owned(), value),
            None => spec.remove(*field),
        };
    }
    grow(object, old);
}

/// The resize subresource owns the resources of containers.
pub(super) fn resize(object: &mut Object, old: &Object) {
    let told = object.clone();
    *object = old.clone();
    keep_version(object, &told["metadata"]);
    for list in ["containers", "initContainers"] {
        let Some(containers) =
            object.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut)
        else {
            continue;
        };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let wanted = told["spec"][list].as_array().into_iter().flatten();
            let wanted =
                wanted.into_iter().find(|other| Some(&other["name"]) == container.get("name"));
            for field in ["resources", "resizePolicy"] {
                match wanted.and_then(|wanted| wanted.get(field)) {
                    Some(value) => container.insert(field.to_owned(), value.clone()),
                    None => container.remove(field),
                };
            }
        }
    }
    grow(object, old);
}

/// Optimistic locking goes by the version that the client told.
fn keep_version(object: &mut Object, told: &Value) {
    match told.get("resourceVersion") {
        Some(version) => {
            child(object, "metadata").insert("resourceVersion".to_owned(), version.clone())
        }
        None => child(object, "metadata").remove("resourceVersion"),
    };
}

fn grow(object: &mut Object, old: &Object) {
    if object["spec"] != old["spec"] {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        child(object, "metadata").insert("generation".to_owned(), (generation + 1).into());
    } else {
        copy(object, old, "spec");
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`: from the pod's own resources, else from its containers'.
pub fn quality_of_service(object: &Object) -> &'static str {
    let spec = &object["spec"];
    if let Some(resources) = spec["resources"].as_object().filter(|resources| !resources.is_empty())
    {
        return class_of(resources);
    }
    let none = Map::new();
    let lists =
        ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array());
    let classes = lists
        .flatten()
        .map(|container| class_of(container["resources"].as_object().unwrap_or(&none)));
    one_of(classes)
}

fn class_of(resources: &Map<String, Value>) -> &'static str {
    let amount = |list: &str, name: &str| {
        let text = resources.get(list).and_then(|list| list[name].as_str()).unwrap_or("0");
        Quantity::parse(text).ok()
    };
    one_of(["cpu", "memory"].into_iter().map(|name| {
        let (request, limit) = (amount("requests", name), amount("limits", name));
        match (request, limit) {
            (Some(request), Some(limit))
                if request.partial_cmp(&limit).is_some_and(std::cmp::Ordering::is_eq) =>
            {
                if limit.is_zero() { "BestEffort" } else { "Guaranteed" }
            }
            _ => "Burstable",
        }
    }))
}

/// The class all share; those that do not agree are burstable.
fn one_of(mut classes: impl Iterator<Item = &'static str>) -> &'static str {
    let Some(first) = classes.next() else { return "BestEffort" };
    if classes.all(|class| class == first) { first } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_follows_requests_and_limits() {
        let full = json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "1000m", "memory": "1Gi" } });
        let cases = [
            (vec![json!({})], "BestEffort"),
            (vec![full.clone()], "Guaranteed"),
            (vec![full.clone(), json!({})], "Burstable"),
            (vec![json!({ "requests": { "cpu": "1" } })], "Burstable"),
            (vec![json!({ "limits": { "cpu": "1" }, "requests": { "cpu": "1" } })], "Burstable"),
            (vec![json!({ "requests": { "example.com/x": "1" } })], "BestEffort"),
        ];
        for (resources, class) in cases {
            let containers: Vec<Value> =
                resources.iter().map(|r| json!({ "resources": r })).collect();
            let pod = json!({ "spec": { "containers": containers } });
            assert_eq!(quality_of_service(&pod), class, "{pod}");
        }
    }

    #[test]
    fn resizing_changes_resources_alone() {
        let old = json!({
            "metadata": { "name": "a", "generation": 1, "resourceVersion": "5" },
            "spec": { "nodeName": "n", "containers": [{ "name": "c", "image": "i" }] },
        });
        let mut new = json!({
            "metadata": { "name": "a", "resourceVersion": "5" },
            "spec": { "containers": [{ "name": "c", "image": "other", "resources": { "limits": { "cpu": "1" } } }] },
        });
        resize(&mut new, &old);
        assert_eq!(new["spec"]["containers"][0]["image"], "i");
        assert_eq!(new["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
        assert_eq!(
            (&new["metadata"]["generation"], &new["spec"]["nodeName"]),
            (&json!(2), &json!("n"))
        );
    }
}
