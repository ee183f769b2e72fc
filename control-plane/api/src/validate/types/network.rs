//! Services and network policies.

use serde_json::{Map, Value};

use crate::status::FieldError;
use crate::syntax;
use crate::validate::path::Path;

use super::{items, text};

pub(super) fn service_spec(
    spec: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let ty = text(spec, "type");
    let headless = text(spec, "clusterIP") == "None";
    let count = items(spec, "ports").count();
    if count == 0 && !headless && ty != "ExternalName" {
        errors.push(FieldError::required(path.child("ports"), ""));
    }
    if ty == "ExternalName" {
        let name = text(spec, "externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required(path.child("externalName"), ""));
        } else {
            let wrong = syntax::dns_subdomain(name).into_iter();
            errors.extend(
                wrong.map(|why| FieldError::invalid(path.child("externalName"), name, why)),
            );
        }
    }
    if headless && matches!(ty, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {ty} services");
        errors.push(FieldError::invalid(path.child("clusterIPs[0]"), "None", detail));
    }
    service_ports(spec, ty, count, path, errors);
    let labels = spec.get("selector").and_then(Value::as_object).into_iter().flatten();
    for (key, value) in labels {
        crate::validate::meta::labels_entry(key, value, &path.child("selector"), errors);
    }
}

fn service_ports(
    spec: &Map<String, Value>,
    ty: &str,
    count: usize,
    path: &Path,
    errors: &mut Vec<FieldError>,
) {
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    for (index, port) in items(spec, "ports").enumerate() {
        let at = path.child(&format!("ports[{index}]"));
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && count > 1 {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        } else if !name.is_empty() {
            let wrong = syntax::dns_label(name).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(format!("{at}.name"), name, why)));
            if names.contains(&name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), name));
            }
            names.push(name);
        }
        if ty == "ClusterIP" && port.get("nodePort").is_some() {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(format!("{at}.nodePort"), detail));
        }
        let key = (&port["protocol"], &port["port"]);
        if numbers.contains(&key) {
            let value = serde_json::json!({ "port": port["port"], "protocol": port["protocol"] });
            errors.push(FieldError::duplicate(at, value));
        }
        numbers.push(key);
    }
}

pub(super) fn policy_peer(
    peer: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let selectors = peer.contains_key("podSelector") || peer.contains_key("namespaceSelector");
    match (peer.contains_key("ipBlock"), selectors) {
        (true, true) => {
            let detail = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(path.to_string(), detail));
        }
        (false, false) => {
            errors.push(FieldError::required(path.to_string(), "must specify a peer"));
        }
        _ => {}
    }
}
