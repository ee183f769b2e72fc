//! All tables of a node, opened from its pin folder: what the agent writes, the CNI plugin adds to and
//! the tools read.

use std::path::{Path, PathBuf};

use skep_abi::{
    AffinityKey, AffinityValue, Backend, Config, Endpoint, EndpointKey, Family, Flow, FlowKey,
    FragmentKey, FragmentPorts, NextHop, Node, NodeKey, Peer, RangeKey, Service, ServiceKey,
    SocketKey, SocketPeer, V4, V6,
};

use crate::{
    chunks,
    counters::Counters,
    error::{Error, Result},
    events::Events,
    mapped::{Mapped, Slots},
    pin,
    table::Table,
};

/// The tables that exist once per address family.
#[derive(Debug)]
pub struct FamilyTables<F: Family> {
    /// Front ends.
    pub services: Table<ServiceKey<F>, Service>,
    /// Backends; the index is the id, 0 is never used.
    pub backends: Mapped<Backend<F>>,
    /// Clients bound to a backend.
    pub sources: Table<AffinityKey<F>, AffinityValue>,
    /// Connections, each direction on its own.
    pub flows: Table<FlowKey<F>, Flow<F>>,
    /// Connections that are not answered yet.
    pub embryos: Table<FlowKey<F>, Flow<F>>,
    /// Replies to translated sources.
    pub snat: Table<FlowKey<F>, Flow<F>>,
    /// Addresses on this node.
    pub endpoints: Table<EndpointKey<F>, Endpoint>,
    /// Prefixes of other nodes.
    pub nodes: Table<NodeKey<F>, Node>,
    /// What translated sockets believe to talk to.
    pub sockets: Table<SocketKey<F>, SocketPeer<F>>,
    /// Ports of packets that come in pieces.
    pub fragments: Table<FragmentKey<F>, FragmentPorts>,
    /// Clients that may use Services with [`skep_abi::service_flags::SOURCE_RANGES`]; each value is
    /// [`skep_abi::RANGE_ALLOWED`].
    pub ranges: Table<RangeKey<F>, u32>,
}

/// Names of one family's tables.
struct Names {
    services: &'static str,
    backends: chunks::Name,
    sources: &'static str,
    flows: &'static str,
    embryos: &'static str,
    snat: &'static str,
    endpoints: &'static str,
    nodes: &'static str,
    sockets: &'static str,
    ranges: &'static str,
    fragments: &'static str,
}

const NAMES4: Names = Names {
    services: "services4",
    backends: chunks::BACKENDS4,
    sources: "sources4",
    flows: "flows4",
    embryos: "embryos4",
    snat: "snat4",
    endpoints: "endpoints4",
    nodes: "nodes4",
    sockets: "sockets4",
    ranges: "ranges4",
    fragments: "fragments4",
};

const NAMES6: Names = Names {
    services: "services6",
    backends: chunks::BACKENDS6,
    sources: "sources6",
    flows: "flows6",
    embryos: "embryos6",
    snat: "snat6",
    endpoints: "endpoints6",
    nodes: "nodes6",
    sockets: "sockets6",
    ranges: "ranges6",
    fragments: "fragments6",
};

impl<F: Family> FamilyTables<F> {
    fn open(maps: &Path, names: &Names) -> Result<Self> {
        Ok(Self {
            services: Table::open(maps, names.services)?,
            backends: Mapped::open(maps, names.backends)?,
            sources: Table::open(maps, names.sources)?,
            flows: Table::open(maps, names.flows)?,
            embryos: Table::open(maps, names.embryos)?,
            snat: Table::open(maps, names.snat)?,
            endpoints: Table::open(maps, names.endpoints)?,
            nodes: Table::open(maps, names.nodes)?,
            sockets: Table::open(maps, names.sockets)?,
            ranges: Table::open(maps, names.ranges)?,
            fragments: Table::open(maps, names.fragments)?,
        })
    }
}

/// The tables of a node.
#[derive(Debug)]
pub struct Tables {
    /// IPv4.
    pub v4: FamilyTables<V4>,
    /// IPv6.
    pub v6: FamilyTables<V6>,
    /// Runs of backend ids, of both families.
    pub slots: Slots,
    /// Other nodes; the index is [`Node::peer`], 0 is never used.
    pub peers: Table<u32, Peer>,
    /// How packets leave for the peers, as programs found out.
    pub next_hops: Table<u32, NextHop>,
    /// Packets and bytes by hook and reason.
    pub counters: Counters,
    config: Table<u32, Config>,
    maps_dir: PathBuf,
}

impl Tables {
    /// Opens the tables that an agent has pinned under `pin_dir`, without loading anything.
    ///
    /// # Errors
    /// [`crate::Error::Pin`] when there are none (the agent has not run), [`crate::Error::Layout`] when
    /// another version made them.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let maps = pin::maps_dir(pin_dir);
        Ok(Self {
            v4: FamilyTables::open(&maps, &NAMES4)?,
            v6: FamilyTables::open(&maps, &NAMES6)?,
            slots: Slots::open(&maps)?,
            peers: Table::open(&maps, "peers")?,
            next_hops: Table::open(&maps, "next_hops")?,
            counters: Counters::open(&maps)?,
            config: Table::open(&maps, "config")?,
            maps_dir: maps,
        })
    }

    /// What the programs know of their node; all zero until it is first written.
    pub fn config(&self) -> Result<Config> {
        Ok(self.config.get(&0)?.unwrap_or_default())
    }

    /// Changes what the programs know of their node. Processes and threads that do so at the same time
    /// wait for each other; what the loader fills in (tick rate, seed, namespace) is kept.
    pub fn update_config(&self, change: impl FnOnce(&mut Config)) -> Result<()> {
        let error = |source| Error::Pin { action: "lock", path: self.maps_dir.clone(), source };
        let lock = std::fs::File::open(&self.maps_dir).map_err(error)?;
        lock.lock().map_err(error)?;
        let old = self.config()?;
        let mut config = old;
        change(&mut config);
        self.config.insert(
            &0,
            &Config {
                ticks_per_s: old.ticks_per_s,
                hash_seed: old.hash_seed,
                netns_cookie: old.netns_cookie,
                ..config
            },
        )
    }

    /// Writes the configuration including what the loader fills in.
    pub(crate) fn set_whole_config(&self, config: &Config) -> Result<()> {
        self.config.insert(&0, config)
    }

    /// Listens to events, as long as the reader is renewed.
    ///
    /// # Errors
    /// [`crate::Error::Listened`] when another process does: each event goes to one reader only.
    pub fn events(&self) -> Result<Events> {
        Events::open(&self.maps_dir)
    }
}
