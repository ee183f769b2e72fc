//! Endpoints and endpoint slices: the first three addresses.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, first_three, list, number, text};

pub(super) const ENDPOINTS: &[Column] =
    &[NAME, Column::text("Endpoints", "ready addresses and ports", Cell::Made(endpoints)), AGE];

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    Column::text("AddressType", "the family of its addresses", Cell::Text("addressType")),
    Column::text("Ports", "the ports of every address", Cell::Made(slice_ports)),
    Column::text("Endpoints", "addresses", Cell::Made(slice_addresses)),
    AGE,
];

fn endpoints(row: &Row) -> Value {
    let subsets = list(row.item, "subsets");
    if subsets.is_empty() {
        return "<none>".into();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = list(subset, "addresses").iter().map(|address| text(address, "ip"));
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(addresses.map(str::to_owned));
        } else {
            for port in ports {
                let port = number(port, "port");
                all.extend(addresses.clone().map(|address| host_port(address, port)));
            }
        }
    }
    first_three(&all).into()
}

fn host_port(address: &str, port: i64) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

fn slice_ports(row: &Row) -> Value {
    let shown = |port: &Value| match (at(port, "port").as_i64(), at(port, "name").as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    };
    or_unset(&list(row.item, "ports").iter().map(shown).collect::<Vec<_>>())
}

fn slice_addresses(row: &Row) -> Value {
    let endpoints = list(row.item, "endpoints").iter();
    let addresses = endpoints.flat_map(|endpoint| list(endpoint, "addresses"));
    or_unset(&addresses.filter_map(Value::as_str).collect::<Vec<_>>())
}

fn or_unset<T: AsRef<str>>(items: &[T]) -> Value {
    let shown = first_three(items);
    if shown.is_empty() { "<unset>".into() } else { shown.into() }
}
