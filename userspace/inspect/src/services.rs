//! `skep net services`: the tables `services4` and `services6`.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use serde::Serialize;
use skep_abi::{Family, Service, service_flags};
use skep_bpf::{FamilyTables, Tables};
use skep_proxy::frontend::{Protocol, Scope};
use skep_proxy::plan::RowKey;
use skep_proxy::rows;

use crate::names::Resolver;
use crate::output::Row;

/// A frontend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Frontend {
    service: String,
    id: u32,
    address: String,
    protocol: String,
    scope: &'static str,
    backends: u32,
    affinity_seconds: u32,
    flags: Vec<&'static str>,
    slot_base: u32,
    slot_count: u32,
    /// How many slots each backend has.
    weights: BTreeMap<u32, u32>,
}

impl Row for Frontend {
    const COLUMNS: &'static [&'static str] =
        &["SERVICE", "ADDRESS", "PROTOCOL", "FROM", "BACKENDS", "FLAGS"];
    const WIDE_COLUMNS: &'static [&'static str] = &["ID", "AFFINITY", "SLOTS", "BACKEND IDS"];

    fn cells(&self) -> Vec<String> {
        let ids: Vec<String> = self.weights.keys().map(ToString::to_string).collect();
        vec![
            self.service.clone(),
            self.address.clone(),
            self.protocol.clone(),
            self.scope.into(),
            self.backends.to_string(),
            if self.flags.is_empty() { "-".into() } else { self.flags.join(",") },
            self.id.to_string(),
            if self.affinity_seconds == 0 {
                "-".into()
            } else {
                format!("{}s", self.affinity_seconds)
            },
            format!("{}+{}", self.slot_base, self.slot_count),
            if ids.is_empty() { "-".into() } else { ids.join(",") },
        ]
    }
}

/// All frontends, by service and address.
pub(crate) fn list(tables: &Tables, names: &Resolver) -> anyhow::Result<Vec<Frontend>> {
    let mut frontends = Vec::new();
    for (key, row) in entries(tables)? {
        let mut weights = BTreeMap::new();
        if row.slot_count > 0 {
            for id in tables.slots.read(row.slot_base, row.slot_count)? {
                *weights.entry(id).or_default() += 1;
            }
        }
        frontends.push(frontend(&key, &row, weights, names));
    }
    frontends
        .sort_by(|a, b| (&a.service, &a.address, a.scope).cmp(&(&b.service, &b.address, b.scope)));
    Ok(frontends)
}

/// The number of each Service port by one of its addresses.
pub(crate) fn ids(tables: &Tables) -> anyhow::Result<HashMap<(SocketAddr, String), u32>> {
    let id = |(key, row): (RowKey, Service)| {
        let address = SocketAddr::new(key.address, key.port);
        ((address, protocol(key.protocol)), row.id)
    };
    Ok(entries(tables)?.into_iter().map(id).collect())
}

/// The rows of both families' tables.
pub(crate) fn entries(tables: &Tables) -> anyhow::Result<Vec<(RowKey, Service)>> {
    fn of<F: Family>(tables: &FamilyTables<F>) -> skep_bpf::Result<Vec<(RowKey, Service)>> {
        let entries = tables.services.entries()?;
        Ok(entries.iter().map(|(key, row)| (rows::row_key(key), *row)).collect())
    }
    let mut all = of(&tables.v4)?;
    all.extend(of(&tables.v6)?);
    Ok(all)
}

fn frontend(
    key: &RowKey,
    row: &Service,
    weights: BTreeMap<u32, u32>,
    names: &Resolver,
) -> Frontend {
    let is_rest = key.port == 0;
    Frontend {
        service: names.service(row.id),
        id: row.id,
        address: if is_rest {
            format!("{}:*", bracketed(key))
        } else {
            SocketAddr::new(key.address, key.port).to_string()
        },
        protocol: protocol(key.protocol),
        scope: match key.scope {
            Scope::Inside => "inside",
            Scope::Outside => "outside",
            Scope::Local => "node",
        },
        backends: row.backend_count,
        affinity_seconds: row.affinity_s,
        flags: flags(row),
        slot_base: row.slot_base,
        slot_count: row.slot_count,
        weights,
    }
}

fn bracketed(key: &RowKey) -> String {
    if key.address.is_ipv6() { format!("[{}]", key.address) } else { key.address.to_string() }
}

/// The name of an IP protocol, or its number.
pub(crate) fn protocol(number: u8) -> String {
    match (Protocol::from_number(number), number) {
        (Some(protocol), _) => protocol.to_string(),
        (None, skep_abi::proto::ICMP) => "ICMP".into(),
        (None, skep_abi::proto::ICMPV6) => "ICMPv6".into(),
        (None, skep_abi::proto::ANY) => "any".into(),
        (None, number) => number.to_string(),
    }
}

fn flags(row: &Service) -> Vec<&'static str> {
    let names = [
        (service_flags::AFFINITY, "affinity"),
        (service_flags::REJECT, "reject"),
        (service_flags::LOCAL, "local"),
        (service_flags::DROP, "drop"),
        (service_flags::NODE_PORT, "node-port"),
        (service_flags::DSR, "dsr"),
    ];
    names.iter().filter(|(bit, _)| row.flags & bit != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_an_address_is_shown_as_such() {
        let key = RowKey {
            address: "10.96.0.7".parse().expect("address"),
            port: 0,
            protocol: 0,
            scope: Scope::Inside,
        };
        let row = Service { flags: service_flags::REJECT, ..Service::default() };
        let shown = frontend(&key, &row, BTreeMap::new(), &Resolver::default());
        assert_eq!(shown.cells()[..6], ["-", "10.96.0.7:*", "any", "inside", "0", "reject"]);
    }
}
