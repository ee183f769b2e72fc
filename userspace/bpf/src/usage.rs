//! How full the tables are that programs fill, and what connections are in them: counted while idle flows
//! are looked for, since whoever counts a hash table walks it. What the proxy writes it counts itself.

use std::time::{Duration, Instant};

use skep_abi::{Family, Flow, FlowKey, flow_flags, flow_state, proto};

use crate::{
    error::Result,
    record::Record,
    table::Table,
    tables::{FamilyTables, Tables},
};

/// How often tables are counted that are not walked for another reason. Those that programs fill at will
/// have at most 131,072 entries each.
const PERIOD: Duration = Duration::from_secs(30);

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its name.
    pub table: &'static str,
    /// Entries in use.
    pub entries: u64,
    /// Entries that there is room for.
    pub max_entries: u64,
}

impl Usage {
    pub(crate) fn new<K: Record, V: Record>(table: &Table<K, V>, entries: u64) -> Self {
        Self { table: table.name(), entries, max_entries: table.capacity().into() }
    }

    fn count<K: Record, V: Record>(table: &Table<K, V>) -> Result<Self> {
        Ok(Self::new(table, table.count()?))
    }
}

/// Answered connections of a family, by protocol and state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections([[u64; Self::STATES.len()]; Self::PROTOCOLS.len()]);

impl Connections {
    /// What is counted apart.
    const PROTOCOLS: [&'static str; 4] = ["tcp", "udp", "sctp", "icmp"];
    /// A connection is closing once its opener has said that it will send no more.
    const STATES: [&'static str; 3] = ["open", "closing", "reset"];

    /// How many there are like this flow; nothing when it is not of a connection's first direction.
    fn count_of<F: Family>(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> Option<&mut u64> {
        if flow.flags & flow_flags::REPLY != 0 {
            return None;
        }
        let protocol = match key.proto {
            proto::TCP => 0,
            proto::UDP => 1,
            proto::SCTP => 2,
            _ => 3,
        };
        let state = match flow.state {
            state if state & flow_state::RST != 0 => 2,
            state if state & flow_state::FIN != 0 => 1,
            _ => 0,
        };
        Some(&mut self.0[protocol][state])
    }

    /// Protocol, state and how many.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let protocols = Self::PROTOCOLS.into_iter().zip(self.0);
        protocols.flat_map(|(protocol, counts)| {
            Self::STATES.into_iter().zip(counts).map(move |(state, count)| (protocol, state, count))
        })
    }
}

/// What a walk over the flows of a family found to stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Entries of `flows` and of `snat`.
    pub(crate) entries: [u64; 2],
    connections: Connections,
}

impl Census {
    /// A flow was found in one of the tables.
    pub(crate) fn add<F: Family>(&mut self, table: usize, key: &FlowKey<F>, flow: &Flow<F>) {
        self.entries[table] += 1;
        if let Some(count) = self.connections.count_of(key, flow) {
            *count += 1;
        }
    }

    /// A flow that was found was removed.
    pub(crate) fn remove<F: Family>(&mut self, table: usize, key: &FlowKey<F>, flow: &Flow<F>) {
        self.entries[table] = self.entries[table].saturating_sub(1);
        // It may have changed since.
        if let Some(count) = self.connections.count_of(key, flow) {
            *count = count.saturating_sub(1);
        }
    }
}

/// What was counted last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// `flows` and `snat`.
    walked: Vec<Usage>,
    others: Vec<Usage>,
    others_at: Option<Instant>,
    connections: [Connections; 2],
}

impl Counted {
    /// Takes in what a walk found, and counts the other tables if that was long ago.
    pub(crate) fn renew(&mut self, tables: &Tables, v4: &Census, v6: &Census) -> Result<()> {
        self.walked = walked(&tables.v4, v4).into_iter().chain(walked(&tables.v6, v6)).collect();
        self.connections = [v4.connections, v6.connections];
        if self.others_at.is_none_or(|at| at.elapsed() >= PERIOD) {
            self.others = others(&tables.v4)?.into_iter().chain(others(&tables.v6)?).collect();
            self.others_at = Some(Instant::now());
        }
        Ok(())
    }

    pub(crate) fn usage(&self) -> Vec<Usage> {
        self.walked.iter().chain(&self.others).copied().collect()
    }

    pub(crate) fn connections(&self) -> [Connections; 2] {
        self.connections
    }
}

fn walked<F: Family>(tables: &FamilyTables<F>, census: &Census) -> [Usage; 2] {
    let [flows, snat] = census.entries;
    [Usage::new(&tables.flows, flows), Usage::new(&tables.snat, snat)]
}

fn others<F: Family>(tables: &FamilyTables<F>) -> Result<[Usage; 5]> {
    Ok([
        Usage::count(&tables.embryos)?,
        Usage::count(&tables.sources)?,
        Usage::count(&tables.sockets)?,
        Usage::count(&tables.endpoints)?,
        Usage::count(&tables.nodes)?,
    ])
}

#[cfg(test)]
mod tests {
    use skep_abi::V4;

    use super::*;

    #[test]
    fn connections_are_counted_once_by_protocol_and_state() {
        let mut census = Census::default();
        for (protocol, flags, state) in [
            (proto::TCP, 0, flow_state::ANSWERED),
            (proto::TCP, flow_flags::REPLY, flow_state::ANSWERED),
            (proto::TCP, flow_flags::SNAT, flow_state::ANSWERED | flow_state::FIN),
            (proto::TCP, 0, flow_state::FIN | flow_state::RST),
            (proto::UDP, flow_flags::TUNNEL, 0),
            (proto::ICMPV6, 0, 0),
        ] {
            let key = FlowKey::<V4> { proto: protocol, ..FlowKey::default() };
            census.add(0, &key, &Flow { flags, state, ..Flow::default() });
        }
        let gone = FlowKey::<V4> { proto: proto::SCTP, ..FlowKey::default() };
        census.add(1, &gone, &Flow::default());
        census.remove(1, &gone, &Flow::default());
        assert_eq!(census.entries, [6, 0]);
        let counted: Vec<_> = census.connections.iter().filter(|(.., count)| *count > 0).collect();
        assert_eq!(
            counted,
            [
                ("tcp", "open", 1),
                ("tcp", "closing", 1),
                ("tcp", "reset", 1),
                ("udp", "open", 1),
                ("icmp", "open", 1),
            ]
        );
        assert_eq!(census.connections.iter().count(), 12, "a bounded number of series");
    }
}
