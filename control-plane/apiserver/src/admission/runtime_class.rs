//! A pod that names a runtime class costs what the class costs and goes where the class can run.

use serde_json::Value;
use skep_api::Object;
use skep_api::status::Status;

use super::{Operation, Write};
use crate::objects::Objects;

pub(super) async fn complete(write: &mut Write<'_>) -> Result<(), Status> {
    if !write.is(Operation::Create, "", "pods") {
        return Ok(());
    }
    let Some(name) = write.object.as_ref().and_then(|pod| pod["spec"]["runtimeClassName"].as_str())
    else {
        return Ok(());
    };
    let classes = Objects::named(write.server, "node.k8s.io", "v1", "runtimeclasses");
    let Some(class) = classes.get("", name).await? else {
        return Err(write.forbidden(format!("pod rejected: RuntimeClass {name:?} not found")));
    };
    let applied = write.object.as_mut().map_or(Ok(()), |pod| apply(pod, &class.object));
    applied.map_err(|why| write.forbidden(why))
}

fn apply(pod: &mut Object, class: &Object) -> Result<(), String> {
    if let Some(overhead) = class.pointer("/overhead/podFixed") {
        let own = &pod["spec"]["overhead"];
        if !own.is_null() && own != overhead {
            return Err(
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                    .to_owned(),
            );
        }
        pod["spec"]["overhead"] = overhead.clone();
    }
    let nodes = class.pointer("/scheduling/nodeSelector").and_then(Value::as_object);
    for (key, value) in nodes.into_iter().flatten() {
        let own = &pod["spec"]["nodeSelector"][key];
        if !own.is_null() && own != value {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            ));
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    let tolerations = class.pointer("/scheduling/tolerations").and_then(Value::as_array);
    let own = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let new = tolerations.into_iter().flatten().filter(|toleration| !own.contains(toleration));
    let new: Vec<Value> = new.cloned().collect();
    if !new.is_empty() {
        pod["spec"]["tolerations"] = own.into_iter().chain(new).collect();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_classs_demands_join_the_pods_unless_they_contradict() {
        let class = json!({
            "overhead": {"podFixed": {"cpu": "10m"}},
            "scheduling": {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "t"}]},
        });
        let joined = json!({
            "overhead": {"cpu": "10m"},
            "nodeSelector": {"a": "1"},
            "tolerations": [{"key": "t"}],
        });
        let cases = [
            (json!({}), Some(&joined)),
            (joined.clone(), Some(&joined)),
            (json!({"overhead": {"cpu": "20m"}}), None),
            (json!({"nodeSelector": {"a": "2"}}), None),
        ];
        for (spec, expected) in cases {
            let mut pod = json!({"spec": spec});
            let applied = apply(&mut pod, &class);
            assert_eq!(applied.is_ok().then_some(&pod["spec"]), expected, "{spec}");
        }
    }
}
