//! `skep net flows`: the tables `flows`, `embryos` and `snat` of both families.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use skep_abi::{Family, FlowKey, NO_BACKEND, flow_flags, flow_state};
use skep_bpf::{FamilyTables, Tables};

use crate::names::Resolver;
use crate::output::Row;
use crate::services::protocol;

/// One direction of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flow {
    table: &'static str,
    protocol: String,
    source: String,
    destination: String,
    translated_source: String,
    translated_destination: String,
    direction: &'static str,
    state: Vec<&'static str>,
    service: String,
    backend: u32,
    packets: u64,
    bytes: u64,
}

impl Row for Flow {
    const COLUMNS: &'static [&'static str] =
        &["PROTOCOL", "SOURCE", "DESTINATION", "BECOMES", "SERVICE", "STATE", "PACKETS"];
    const WIDE_COLUMNS: &'static [&'static str] =
        &["SOURCE BECOMES", "DIRECTION", "BACKEND", "BYTES", "TABLE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.protocol.clone(),
            self.source.clone(),
            self.destination.clone(),
            self.translated_destination.clone(),
            self.service.clone(),
            if self.state.is_empty() { "new".into() } else { self.state.join(",") },
            self.packets.to_string(),
            self.translated_source.clone(),
            self.direction.into(),
            if self.backend == NO_BACKEND { "-".into() } else { self.backend.to_string() },
            self.bytes.to_string(),
            self.table.into(),
        ]
    }
}

/// All flows, or those from or to `address`.
pub(crate) fn list(
    tables: &Tables,
    names: &Resolver,
    address: Option<IpAddr>,
) -> anyhow::Result<Vec<Flow>> {
    let mut flows = of(&tables.v4, names, address)?;
    flows.extend(of(&tables.v6, names, address)?);
    Ok(flows)
}

fn of<F: Family>(
    tables: &FamilyTables<F>,
    names: &Resolver,
    address: Option<IpAddr>,
) -> anyhow::Result<Vec<Flow>> {
    let wanted = F::addr_from_ip;
    let mut flows = Vec::new();
    for table in [&tables.flows, &tables.embryos, &tables.snat] {
        for (key, flow) in table.entries()? {
            let shown = address.is_none_or(|address| {
                wanted(address).is_some_and(|a| [key.src, key.dst, flow.src, flow.dst].contains(&a))
            });
            if shown {
                flows.push(row(table.name(), &key, &flow, names));
            }
        }
    }
    Ok(flows)
}

fn row<F: Family>(
    table: &'static str,
    key: &FlowKey<F>,
    flow: &skep_abi::Flow<F>,
    names: &Resolver,
) -> Flow {
    let socket = |addr: F::Addr, port_be: u16| {
        names.socket(SocketAddr::new(F::addr_to_ip(addr), u16::from_be(port_be)))
    };
    let states =
        [(flow_state::ANSWERED, "answered"), (flow_state::FIN, "fin"), (flow_state::RST, "rst")];
    Flow {
        table,
        protocol: protocol(key.proto),
        source: socket(key.src, key.sport_be),
        destination: socket(key.dst, key.dport_be),
        translated_source: socket(flow.src, flow.sport_be),
        translated_destination: socket(flow.dst, flow.dport_be),
        direction: if flow.flags & flow_flags::REPLY != 0 { "reply" } else { "first" },
        state: states.iter().filter(|(bit, _)| flow.state & bit != 0).map(|(_, n)| *n).collect(),
        service: names.service(flow.service),
        backend: flow.backend,
        packets: flow.packets,
        bytes: flow.bytes,
    }
}
