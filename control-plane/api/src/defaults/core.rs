//! Hooks of the core group.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::quantity::Quantity;

use super::{Hook, child, items, set, text};

pub(super) fn hook(ty: &str) -> Option<Hook> {
    Some(match ty {
        "core.Container" | "core.EphemeralContainer" => container,
        "core.LimitRangeItem" => limit_range_item,
        "core.Namespace" => namespace,
        "core.NodeStatus" => node_status,
        "core.Pod" => pod,
        "core.PodSpec" => pod_spec,
        "core.PodStatus" => pod_status,
        "core.ReplicationController" => replication_controller,
        "core.ResourceRequirements" | "core.VolumeResourceRequirements" => resources,
        "core.Secret" => secret,
        "core.Service" => service,
        "core.Volume" => volume,
        _ => return None,
    })
}

fn container(container: &mut Map<String, Value>) {
    let policy = pull_policy(text(container, "image"));
    set(container, "imagePullPolicy", policy);
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
}

/// An image without tag and digest is the latest one.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(name, digest)| (name, digest));
    let last = name.rsplit('/').next().unwrap_or(name);
    let latest = match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_empty() && !name.is_empty(),
    };
    if latest { "Always" } else { "IfNotPresent" }
}

fn volume(volume: &mut Map<String, Value>) {
    if !volume.keys().any(|key| key != "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
        let policy = pull_policy(text(image, "reference"));
        set(image, "pullPolicy", policy);
    }
}

fn pod(pod: &mut Map<String, Value>) {
    let spec = child(pod, "spec");
    if spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds < 0)
    {
        spec.insert("terminationGracePeriodSeconds".to_owned(), 1.into());
    }
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = child(resources, "requests");
    for (name, amount) in limits {
        set(requests, &name, amount);
    }
}

fn host_ports(container: &mut Map<String, Value>) {
    for port in items(container, "ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            set(port, "hostPort", number);
        }
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    let deprecated = text(spec, "serviceAccount").to_owned();
    if text(spec, "serviceAccountName").is_empty() && !deprecated.is_empty() {
        spec.insert("serviceAccountName".to_owned(), deprecated.into());
    }
    match spec.get("serviceAccountName").cloned() {
        Some(name) => spec.insert("serviceAccount".to_owned(), name),
        None => spec.remove("serviceAccount"),
    };
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "schedulerName", "default-scheduler");
}

/// One address and the list of them say the same; the one wins.
fn pod_status(status: &mut Map<String, Value>) {
    let first = status.get("podIPs").and_then(|ips| ips[0]["ip"].as_str()).map(str::to_owned);
    let single = status.get("podIP").and_then(Value::as_str).map(str::to_owned);
    match (single, first) {
        (Some(single), first) if first.as_ref() != Some(&single) => {
            status.insert("podIPs".to_owned(), json!([{ "ip": single }]));
        }
        (None, Some(first)) => {
            status.insert("podIP".to_owned(), first.into());
        }
        _ => {}
    }
}

/// Text is written for the convenience of people, and kept as data.
fn secret(secret: &mut Map<String, Value>) {
    let Some(Value::Object(text)) = secret.remove("stringData") else { return };
    let data = child(secret, "data");
    for (key, value) in text {
        data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()).into());
    }
}

fn service(service: &mut Map<String, Value>) {
    let spec = child(service, "spec");
    set(spec, "sessionAffinity", "None");
    set(spec, "type", "ClusterIP");
    if text(spec, "sessionAffinity") == "None" {
        spec.remove("sessionAffinityConfig");
    } else if text(spec, "sessionAffinity") == "ClientIP" {
        set(child(child(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800);
    }
    for port in items(spec, "ports") {
        set(port, "protocol", "TCP");
        let unset = port.get("targetPort").is_none_or(|target| target == 0 || target == "");
        if let Some(number) = port.get("port").cloned().filter(|_| unset) {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let ty = text(spec, "type").to_owned();
    let external_ips =
        spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    let load_balancer = ty == "LoadBalancer";
    if load_balancer || ty == "NodePort" || ty == "ClusterIP" && external_ips {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if load_balancer || ty == "NodePort" || ty == "ClusterIP" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if load_balancer {
        set(spec, "allocateLoadBalancerNodePorts", true);
        let Some(status) = service.get_mut("status").and_then(Value::as_object_mut) else { return };
        for ingress in items(child(status, "loadBalancer"), "ingress") {
            if !text(ingress, "ip").is_empty() {
                set(ingress, "ipMode", "VIP");
            }
        }
    }
}

fn namespace(namespace: &mut Map<String, Value>) {
    let metadata = child(namespace, "metadata");
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        child(metadata, "labels").insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
}

fn node_status(status: &mut Map<String, Value>) {
    if let Some(capacity) = status.get("capacity").cloned() {
        set(status, "allocatable", capacity);
    }
}

fn replication_controller(controller: &mut Map<String, Value>) {
    let template =
        controller.get("spec").and_then(|spec| spec["template"]["metadata"]["labels"].as_object());
    let Some(labels) = template.cloned().map(Value::Object) else { return };
    set(child(controller, "spec"), "selector", labels.clone());
    set(child(controller, "metadata"), "labels", labels);
}

fn limit_range_item(item: &mut Map<String, Value>) {
    if text(item, "type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")]
    {
        for (name, amount) in
            item.get(from).and_then(Value::as_object).cloned().into_iter().flatten()
        {
            set(child(item, to), &name, amount);
        }
    }
}

/// Amounts finer than a thousandth are rounded up to one.
fn resources(resources: &mut Map<String, Value>) {
    for list in ["limits", "requests"] {
        for amount in resources.get_mut(list).and_then(Value::as_object_mut).into_iter().flatten() {
            let fine = amount.1.as_str().filter(|text| text.ends_with(['n', 'u']));
            if let Some(quantity) = fine.and_then(|text| Quantity::parse(text).ok()) {
                let rounded = Quantity::parse(&format!("{}m", quantity.milli()));
                *amount.1 = rounded.map_or(Value::Null, |quantity| quantity.to_string().into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_tag_are_pulled_always() {
        let cases = [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("host:5000/a", "Always"),
            ("host:5000/a:1", "IfNotPresent"),
            ("a@sha256:00", "IfNotPresent"),
            ("a:latest@sha256:00", "Always"),
            ("", "IfNotPresent"),
        ];
        for (image, policy) in cases {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
