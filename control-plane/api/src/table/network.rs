//! Ingresses, network policies, service addresses.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::services::load_balancer;
use super::tree::{annotation, at, count, list, some_text, text};

/// The columns of a kind in networking.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Ingress" => INGRESS,
        "IngressClass" => INGRESS_CLASS,
        "NetworkPolicy" => NETWORK_POLICY,
        "IPAddress" => IP_ADDRESS,
        "ServiceCIDR" => SERVICE_CIDR,
        _ => return None,
    })
}

const INGRESS: &[Column] = &[
    NAME,
    Column::text("Class", "who serves it", Cell::Made(class)),
    Column::text("Hosts", "the hosts it serves", Cell::Made(hosts)),
    Column::text(
        "Address",
        "where it is served",
        Cell::Made(|row| load_balancer(row.item).join(",").into()),
    ),
    Column::text("Ports", "the ports it is served at", Cell::Made(ports)),
    AGE,
];

const INGRESS_CLASS: &[Column] = &[
    Column::text("Name", "unique in the cluster", Cell::Made(class_name)).name_format(),
    Column::text("Controller", "who serves it", Cell::Text("spec.controller")),
    Column::text("Parameters", "the object that says how", Cell::Made(parameters)),
    AGE,
];

const NETWORK_POLICY: &[Column] = &[
    NAME,
    Column::text("Pod-Selector", "the pods it is for", Cell::Selector("spec.podSelector")),
    AGE,
];

const IP_ADDRESS: &[Column] =
    &[NAME, Column::text("ParentRef", "the object that has it", Cell::Made(parent))];

const SERVICE_CIDR: &[Column] =
    &[NAME, Column::text("CIDRs", "ranges for service addresses", Cell::Made(ranges)), AGE];

fn class(row: &Row) -> Value {
    at(row.item, "spec.ingressClassName").as_str().unwrap_or("<none>").into()
}

fn hosts(row: &Row) -> Value {
    const SHOWN: usize = 3;
    let rules = list(row.item, "spec.rules");
    let (mut hosts, mut more) = (Vec::new(), false);
    for rule in rules {
        more |= hosts.len() == SHOWN;
        if !more {
            hosts.extend(some_text(rule, "host"));
        }
    }
    match (hosts.is_empty(), more) {
        (true, _) => "*".into(),
        (false, false) => hosts.join(",").into(),
        (false, true) => format!("{} + {} more...", hosts.join(","), rules.len() - SHOWN).into(),
    }
}

fn ports(row: &Row) -> Value {
    if count(row.item, "spec.tls") == 0 { "80".into() } else { "80, 443".into() }
}

fn class_name(row: &Row) -> Value {
    let name = text(row.item, "metadata.name");
    match annotation(row.item, "ingressclass.kubernetes.io/is-default-class") {
        Some("true") => format!("{name} (default)").into(),
        _ => name.into(),
    }
}

fn parameters(row: &Row) -> Value {
    let parameters = at(row.item, "spec.parameters");
    if parameters.is_null() {
        return "<none>".into();
    }
    let group = at(parameters, "apiGroup").as_str().map(|group| format!(".{group}"));
    let (kind, name) = (text(parameters, "kind"), text(parameters, "name"));
    format!("{kind}{}/{name}", group.unwrap_or_default()).into()
}

fn parent(row: &Row) -> Value {
    let parent = at(row.item, "spec.parentRef");
    if parent.is_null() {
        return "<none>".into();
    }
    let mut path = text(parent, "resource").to_owned();
    if let Some(group) = some_text(parent, "group") {
        path = format!("{path}.{group}");
    }
    let mut path = path.to_lowercase();
    for part in [some_text(parent, "namespace"), Some(text(parent, "name"))].into_iter().flatten() {
        path = format!("{path}/{part}");
    }
    path.into()
}

fn ranges(row: &Row) -> Value {
    let ranges = list(row.item, "spec.cidrs").iter().filter_map(Value::as_str);
    ranges.collect::<Vec<_>>().join(",").into()
}
