//! Hooks of services: what was allocated stays when an update leaves it out, and goes when the new type
//! has no use for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Object;

use super::child;

/// Whether services of this spec need a field.
type Need = fn(&Map<String, Value>) -> bool;

pub(super) fn update(object: &mut Object, old: &Object) {
    let was = old["spec"].as_object().cloned().unwrap_or_default();
    let spec = child(object, "spec");
    drop_empty(spec);
    keep_allocated(spec, &was);
    drop_unneeded(spec, &was);
}

/// An empty address and port 0 say the same as no field.
fn drop_empty(spec: &mut Map<String, Value>) {
    let is_empty = |value: &mut Value| *value == "" || *value == 0;
    for field in ["clusterIP", "healthCheckNodePort"] {
        if spec.get_mut(field).is_some_and(is_empty) {
            spec.remove(field);
        }
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if port.get_mut("nodePort").is_some_and(is_empty) {
            port.as_object_mut().map(|port| port.remove("nodePort"));
        }
    }
}

fn keep_allocated(spec: &mut Map<String, Value>, was: &Map<String, Value>) {
    if has_cluster_ip(was) && has_cluster_ip(spec) {
        // Clients that know one address only change that: the list follows.
        if spec.contains_key("clusterIP")
            && spec.get("clusterIP") != was.get("clusterIP")
            && spec.get("clusterIPs") == was.get("clusterIPs")
        {
            let address = spec.get("clusterIP").cloned();
            spec.insert("clusterIPs".to_owned(), address.into_iter().collect());
        }
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = was.get(field).filter(|_| !spec.contains_key(field)) {
                // One address told keeps the list in step.
                if field == "clusterIP" || spec.get("clusterIP") == was.get("clusterIP") {
                    spec.insert(field.to_owned(), value.clone());
                }
            }
        }
    }
    if has_node_ports(was) && has_node_ports(spec) {
        keep_node_ports(spec, was);
    }
    if has_health_check(was)
        && has_health_check(spec)
        && !spec.contains_key("healthCheckNodePort")
        && let Some(port) = was.get("healthCheckNodePort")
    {
        spec.insert("healthCheckNodePort".to_owned(), port.clone());
    }
}

fn keep_node_ports(spec: &mut Map<String, Value>, was: &Map<String, Value>) {
    let by_name: BTreeMap<String, Value> = ports(was)
        .filter_map(|port| {
            Some((
                port["name"].as_str().unwrap_or_default().to_owned(),
                port.get("nodePort")?.clone(),
            ))
        })
        .collect();
    let mut used: Vec<Value> =
        ports(spec).filter_map(|port| port.get("nodePort").cloned()).collect();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        let Some(kept) = by_name.get(name) else { continue };
        if port.get("nodePort").is_none() && !used.contains(kept) {
            used.push(kept.clone());
            port["nodePort"] = kept.clone();
        }
    }
}

fn drop_unneeded(spec: &mut Map<String, Value>, was: &Map<String, Value>) {
    let same = |spec: &Map<String, Value>, field: &str| spec.get(field) == was.get(field);
    if has_cluster_ip(was) && !has_cluster_ip(spec) {
        if same(spec, "clusterIP") && same(spec, "clusterIPs") {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if same(spec, field) {
                spec.remove(field);
            }
        }
    }
    let node_ports = |spec: &Map<String, Value>| -> Vec<Value> {
        ports(spec).map(|port| port["nodePort"].clone()).collect()
    };
    if has_node_ports(was) && !has_node_ports(spec) && node_ports(was) == node_ports(spec) {
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().map(|port| port.remove("nodePort"));
        }
    }
    let needs: [(&str, Need); 5] = [
        ("internalTrafficPolicy", has_cluster_ip),
        ("healthCheckNodePort", has_health_check),
        ("allocateLoadBalancerNodePorts", is_load_balancer),
        ("loadBalancerClass", is_load_balancer),
        ("externalTrafficPolicy", is_external),
    ];
    for (field, needs) in needs {
        if needs(was) && !needs(spec) && same(spec, field) {
            spec.remove(field);
        }
    }
}

fn ports(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    spec.get("ports").and_then(Value::as_array).into_iter().flatten()
}

fn ty(spec: &Map<String, Value>) -> &str {
    spec.get("type").and_then(Value::as_str).unwrap_or("ClusterIP")
}

fn has_cluster_ip(spec: &Map<String, Value>) -> bool {
    matches!(ty(spec), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &Map<String, Value>) -> bool {
    let declined = spec.get("allocateLoadBalancerNodePorts") == Some(&Value::Bool(false));
    ty(spec) == "NodePort" || is_load_balancer(spec) && !declined
}

fn has_health_check(spec: &Map<String, Value>) -> bool {
    is_load_balancer(spec)
        && spec.get("externalTrafficPolicy").is_some_and(|policy| policy == "Local")
}

fn is_load_balancer(spec: &Map<String, Value>) -> bool {
    ty(spec) == "LoadBalancer"
}

fn is_external(spec: &Map<String, Value>) -> bool {
    let external_ips =
        spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    matches!(ty(spec), "NodePort" | "LoadBalancer") || ty(spec) == "ClusterIP" && external_ips
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn updated(new: &Value) -> Value {
        let old = json!({ "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "externalTrafficPolicy": "Cluster", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
        }});
        let mut object = json!({ "spec": new });
        update(&mut object, &old);
        object["spec"].take()
    }

    #[test]
    fn allocations_stay_when_they_are_left_out() {
        let spec =
            updated(&json!({ "type": "NodePort", "ports": [{ "name": "http", "port": 81 }] }));
        assert_eq!(spec["clusterIP"], "10.96.0.9");
        assert_eq!(spec["clusterIPs"], json!(["10.96.0.9"]));
        assert_eq!(spec["ports"][0]["nodePort"], 30080);
    }

    #[test]
    fn a_type_without_node_ports_gives_them_back() {
        let spec = updated(&json!({
            "type": "ClusterIP", "clusterIP": "10.96.0.9", "externalTrafficPolicy": "Cluster",
            "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
        }));
        assert_eq!(spec["ports"], json!([{ "name": "http", "port": 80 }]));
        assert_eq!(spec.get("externalTrafficPolicy"), None);
    }
}
