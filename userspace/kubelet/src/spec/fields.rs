//! The downward API: fields of the pod and resources of its containers, as text.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity;

/// What a node has for a container that sets no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeAmounts {
    pub(crate) cpu_milli: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) ephemeral_bytes: i64,
}

/// One field of the pod; the error names the path.
pub(crate) fn field(pod: &Pod, path: &str, node_name: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(listing(meta.labels.as_ref())),
        "metadata.annotations" => Some(listing(meta.annotations.as_ref())),
        "spec.nodeName" => Some(node_name.to_owned()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => status.and_then(|status| status.host_ip.clone()),
        "status.hostIPs" => {
            let ips = status.and_then(|status| status.host_ips.as_ref());
            ips.map(|ips| ips.iter().map(|ip| ip.ip.as_str()).collect::<Vec<_>>().join(","))
        }
        "status.podIP" => status.and_then(|status| status.pod_ip.clone()),
        "status.podIPs" => {
            let ips = status.and_then(|status| status.pod_ips.as_ref());
            ips.map(|ips| ips.iter().map(|ip| ip.ip.as_str()).collect::<Vec<_>>().join(","))
        }
        _ => {
            let (list, key) = subscript(path).ok_or_else(|| unsupported(path))?;
            let list = match list {
                "metadata.labels" => meta.labels.as_ref(),
                "metadata.annotations" => meta.annotations.as_ref(),
                _ => return Err(unsupported(path)),
            };
            list.and_then(|list| list.get(key).cloned())
        }
    };
    Ok(value.unwrap_or_default())
}

fn unsupported(path: &str) -> String {
    format!("unsupported fieldPath: {path}")
}

/// `metadata.labels['key']` as list and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (list, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let key = key.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((list, key))
}

/// `key="escaped value"`, one per line.
fn listing(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", go_quoted(value)))
        .collect();
    lines.join("\n")
}

/// A string as Go quotes it.
fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// One resource of a container, divided and rounded up; the error names the resource.
pub(crate) fn resource(
    pod: &Pod,
    own: &Container,
    selector: &ResourceFieldSelector,
    node: NodeAmounts,
) -> Result<String, String> {
    let container = match &selector.container_name {
        Some(name) => crate::role::all(pod)
            .into_iter()
            .map(|member| member.container)
            .find(|container| container.name == *name)
            .ok_or_else(|| format!("container {name} not found"))?,
        None => own.clone(),
    };
    let resources = container.resources.unwrap_or_default();
    let (limits, requests) = (resources.limits, resources.requests);
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let limit = || limits.as_ref().and_then(|list| list.get(name));
    let found = match list {
        "limits" => limit(),
        "requests" => requests.as_ref().and_then(|list| list.get(name)).or_else(limit),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let of_node = match (list, name) {
        ("limits", "cpu") => node.cpu_milli,
        ("limits", "memory") => node.memory_bytes.saturating_mul(1000),
        ("limits", "ephemeral-storage") => node.ephemeral_bytes.saturating_mul(1000),
        _ => 0,
    };
    let thousandths = match found {
        Some(quantity) => {
            quantity::milli(quantity).ok_or_else(|| format!("{} is not a quantity", quantity.0))?
        }
        None => of_node,
    };
    let divisor = selector.divisor.clone().unwrap_or_else(|| Quantity("1".into()));
    let divisor = quantity::milli(&divisor).filter(|divisor| *divisor > 0).unwrap_or(1000);
    Ok((thousandths / divisor + i64::from(thousandths % divisor != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "u",
                         "labels": {"x": "1", "y": "say \"hi\""}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}}]},
            "status": {"podIP": "10.0.0.1", "hostIP": "10.1.0.1"}
        }))
        .unwrap()
    }

    #[test]
    fn pod_fields() {
        for (path, expected) in [
            ("metadata.name", Some("a")),
            ("metadata.labels['x']", Some("1")),
            ("metadata.labels['none']", Some("")),
            ("metadata.labels", Some("x=\"1\"\ny=\"say \\\"hi\\\"\"")),
            ("spec.nodeName", Some("n1")),
            ("status.podIP", Some("10.0.0.1")),
            ("spec.color", None),
        ] {
            assert_eq!(field(&pod(), path, "n1").ok().as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let node = NodeAmounts { cpu_milli: 2000, memory_bytes: 1 << 30, ephemeral_bytes: 5 };
        for (resource_name, divisor, expected) in [
            ("limits.cpu", None, Some("1")),
            ("limits.cpu", Some("1m"), Some("250")),
            ("requests.cpu", Some("1m"), Some("250")),
            ("limits.memory", Some("1Mi"), Some("64")),
            ("limits.ephemeral-storage", None, Some("5")),
            ("color", None, None),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some("c".into()),
                resource: resource_name.into(),
                divisor: divisor.map(|text| Quantity(text.into())),
            };
            let found = resource(&pod(), &Container::default(), &selector, node);
            assert_eq!(found.ok().as_deref(), expected, "{resource_name}");
        }
    }
}
