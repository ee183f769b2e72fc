//! Services: where they answer.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{list, number, some_text, text};

pub(super) const SERVICE: &[Column] = &[
    NAME,
    Column::text("Type", "how it is reached", Cell::Text("spec.type")),
    Column::text("Cluster-IP", "its address in the cluster", Cell::Made(cluster_address)),
    Column::text(
        "External-IP",
        "its addresses outside the cluster",
        Cell::Made(external_addresses),
    ),
    Column::text("Port(s)", "its ports and node ports", Cell::Made(ports)),
    AGE,
    Column::text("Selector", "the pods behind it", Cell::Labels("spec.selector")).wide(),
];

fn cluster_address(row: &Row) -> Value {
    let first = list(row.item, "spec.clusterIPs").first();
    first.and_then(Value::as_str).unwrap_or("<none>").into()
}

fn external_addresses(row: &Row) -> Value {
    let external = list(row.item, "spec.externalIPs").iter().filter_map(Value::as_str);
    let or = |addresses: Vec<&str>, otherwise: &str| match addresses.is_empty() {
        true => otherwise.into(),
        false => addresses.join(",").into(),
    };
    match text(row.item, "spec.type") {
        "ClusterIP" | "NodePort" => or(external.collect(), "<none>"),
        "LoadBalancer" => {
            let mut addresses = load_balancer(row.item);
            addresses.extend(external);
            or(addresses, "<pending>")
        }
        "ExternalName" => text(row.item, "spec.externalName").into(),
        _ => "<unknown>".into(),
    }
}

/// The addresses, or names, that a load balancer gave: sorted, each once.
pub(super) fn load_balancer(object: &Value) -> Vec<&str> {
    let ingress = list(object, "status.loadBalancer.ingress").iter();
    let mut addresses: Vec<&str> = ingress
        .filter_map(|ingress| some_text(ingress, "ip").or_else(|| some_text(ingress, "hostname")))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn ports(row: &Row) -> Value {
    let shown = |port: &Value| {
        let (number, protocol) = (number(port, "port"), text(port, "protocol"));
        match self::number(port, "nodePort") {
            node_port @ 1.. => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    let ports: Vec<String> = list(row.item, "spec.ports").iter().map(shown).collect();
    if ports.is_empty() { "<none>".into() } else { ports.join(",").into() }
}
