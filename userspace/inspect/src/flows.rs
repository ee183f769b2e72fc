//! `skep net flows`: the tables `flows`, `embryos` and `snat` of both families.

use std::net::SocketAddr;

use serde::Serialize;
use skep_abi::{Family, FlowKey, flow_flags, flow_state};
use skep_bpf::{FamilyTables, Table, Tables};

use crate::Flags;
use crate::filter::{Filter, Subject};
use crate::names::Resolver;
use crate::output::Row;
use crate::services::protocol;

/// Which flows.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(flatten)]
    filter: Filter,
    /// Only connections in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Print at most so many; 0: all
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// Not answered yet, or its opener has not spoken again.
    New,
    /// Both sides have spoken.
    Established,
    /// This side has ended it.
    Closing,
}

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
    state: State,
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<SocketAddr>,
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
            match self.state {
                State::New => "new",
                State::Established => "established",
                State::Closing => "closing",
            }
            .into(),
            self.packets.to_string(),
            self.translated_source.clone(),
            self.direction.into(),
            self.backend.map_or_else(|| "-".into(), |backend| backend.to_string()),
            self.bytes.to_string(),
            self.table.into(),
        ]
    }
}

/// What a query found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) flows: Vec<Flow>,
    /// Flows that match and are not among them.
    pub(crate) cut: usize,
}

/// The flows that a query asks for.
pub(crate) fn list(tables: &Tables, names: &Resolver, query: &Query) -> anyhow::Result<Found> {
    let mut found = Found::default();
    collect(&tables.v4, names, query, &mut found)?;
    collect(&tables.v6, names, query, &mut found)?;
    Ok(found)
}

/// The three tables of flows of a family, as the programs use them.
pub(crate) fn tables_of<F: Family>(
    tables: &FamilyTables<F>,
) -> [&Table<FlowKey<F>, skep_abi::Flow<F>>; 3] {
    [&tables.flows, &tables.embryos, &tables.snat]
}

fn collect<F: Family>(
    tables: &FamilyTables<F>,
    names: &Resolver,
    query: &Query,
    found: &mut Found,
) -> anyhow::Result<()> {
    for table in tables_of(tables) {
        let embryo = table.name().starts_with("embryos");
        table.visit(|batch| {
            for (key, flow) in batch {
                let ends = Ends::of(key, flow);
                let state = State::of(flow, embryo);
                let wanted = query.state.is_none_or(|wanted| wanted == state)
                    && query.filter.admits(&ends.subject(), names);
                if !wanted {
                    continue;
                }
                if query.limit > 0 && found.flows.len() == query.limit {
                    found.cut += 1;
                } else {
                    found.flows.push(ends.row(table.name(), state, flow, names));
                }
            }
        })?;
    }
    Ok(())
}

impl State {
    fn of<F: Family>(flow: &skep_abi::Flow<F>, embryo: bool) -> Self {
        if embryo {
            Self::New
        } else if flow.state & (flow_state::FIN | flow_state::RST) != 0 {
            Self::Closing
        } else {
            Self::Established
        }
    }
}

/// The sockets of one direction of a connection: source, destination, and both after translation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    sockets: [SocketAddr; 4],
    protocol: u8,
    pub(crate) service: u32,
    pub(crate) is_reply: bool,
}

impl Ends {
    pub(crate) fn of<F: Family>(key: &FlowKey<F>, flow: &skep_abi::Flow<F>) -> Self {
        let socket = |addr, port_be| SocketAddr::new(F::addr_to_ip(addr), u16::from_be(port_be));
        Self {
            sockets: [
                socket(key.src, key.sport_be),
                socket(key.dst, key.dport_be),
                socket(flow.src, flow.sport_be),
                socket(flow.dst, flow.dport_be),
            ],
            protocol: key.proto,
            service: flow.service,
            is_reply: flow.flags & flow_flags::REPLY != 0,
        }
    }

    /// The backend of a Service's connection.
    pub(crate) fn backend(&self) -> Option<SocketAddr> {
        let [source, _, _, to] = self.sockets;
        (self.service != 0).then_some(if self.is_reply { source } else { to })
    }

    /// What identifies the direction: its source and destination as they arrive, and its protocol.
    pub(crate) fn tuple(&self) -> (SocketAddr, SocketAddr, u8) {
        (self.sockets[0], self.sockets[1], self.protocol)
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        let (sockets, protocol) = (&self.sockets[..], self.protocol);
        Subject { sockets, protocol, service: self.service, backend: self.backend() }
    }

    fn row<F: Family>(
        &self,
        table: &'static str,
        state: State,
        flow: &skep_abi::Flow<F>,
        names: &Resolver,
    ) -> Flow {
        let [source, destination, translated_source, translated_destination] =
            self.sockets.map(|socket| names.socket(socket));
        Flow {
            table,
            protocol: protocol(self.protocol),
            source,
            destination,
            translated_source,
            translated_destination,
            direction: if self.is_reply { "reply" } else { "first" },
            state,
            service: names.service(self.service),
            backend: self.backend(),
            packets: flow.packets,
            bytes: flow.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_abi::V4;

    #[test]
    fn both_directions_of_a_connection_name_the_same_backend() {
        let (client, vip, pod) = ([0x0501_000a], [0x0100_600a], [0x0701_000a]);
        let (port, to) = (80_u16.to_be(), 8080_u16.to_be());
        let first = FlowKey::<V4> { src: client, dst: vip, dport_be: port, ..FlowKey::default() };
        let reply = FlowKey::<V4> { src: pod, dst: client, sport_be: to, ..FlowKey::default() };
        let flow = |src, dst, dport_be, flags| skep_abi::Flow::<V4> {
            src,
            dst,
            dport_be,
            flags,
            service: 7,
            ..skep_abi::Flow::default()
        };
        let there = Ends::of(&first, &flow(client, pod, to, flow_flags::DST));
        let back = Ends::of(&reply, &flow(vip, client, 0, flow_flags::REPLY));
        assert_eq!(there.backend(), Some("10.0.1.7:8080".parse().expect("a literal")));
        assert_eq!(back.backend(), there.backend());
    }
}
