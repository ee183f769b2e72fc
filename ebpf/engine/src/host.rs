//! Tables in ordinary memory, with the kernel's semantics: bounded, and copies of whole values.

use core::net::IpAddr;
use std::{boxed::Box, cell::RefCell, collections::HashMap, vec::Vec};

use skep_abi::{
    AffinityKey, AffinityValue, Backend, Config, Endpoint, Family, Flow, FlowKey, FragmentKey,
    FragmentPorts, Node, Peer, Service, ServiceKey, SocketKey, SocketPeer,
};

use skep_packet::Headers;

use crate::{FlowTable, Ingress, Seen, Tables};

/// A small map that compares keys: keys of skep-abi have no hash, and tests have few entries.
type Map<K, V> = RefCell<Vec<(K, V)>>;

/// Entries of a table of flows.
type Entries<F> = Vec<(FlowKey<F>, Flow<F>)>;

/// A connection to a Service, as it was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Address and port of the client.
    pub client: (IpAddr, u16),
    /// The Service.
    pub service: u32,
    /// The chosen backend.
    pub backend: u32,
}

/// The tables of one family on the host.
#[derive(Clone, Debug)]
pub struct HostTables<F: Family> {
    /// Table `config`.
    pub config: Config,
    /// Table `slots`.
    pub slots: Vec<u32>,
    /// Table `backends`; the index is the id.
    pub backends: Vec<Backend<F>>,
    /// Table `peers`; the index is [`Node::peer`].
    pub peers: Vec<Peer>,
    /// Table `nodes`, any order.
    pub nodes: Vec<(u32, F::Addr, Node)>,
    /// Table `ranges`, any order: length of the prefix (without the id's bits), id, prefix.
    pub ranges: Vec<(u32, u32, F::Addr)>,
    /// The clock.
    pub now_ticks: u64,
    /// Entries that each table of flows has room for.
    pub flow_capacity: usize,
    /// What was reported.
    pub opened: RefCell<Vec<Opened>>,
    services: Map<ServiceKey<F>, Service>,
    sources: Map<AffinityKey<F>, AffinityValue>,
    endpoints: Map<F::Addr, Endpoint>,
    sockets: Map<SocketKey<F>, SocketPeer<F>>,
    fragments: Map<FragmentKey<F>, FragmentPorts>,
    flows: RefCell<HashMap<FlowTable, Entries<F>>>,
}

impl<F: Family> HostTables<F> {
    /// Empty tables.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            slots: Vec::new(),
            backends: Vec::from([Backend::default()]),
            peers: Vec::from([Peer::default()]),
            nodes: Vec::new(),
            ranges: Vec::new(),
            now_ticks: 1,
            flow_capacity: 1024,
            opened: RefCell::default(),
            services: RefCell::default(),
            sources: RefCell::default(),
            endpoints: RefCell::default(),
            sockets: RefCell::default(),
            fragments: RefCell::default(),
            flows: RefCell::default(),
        }
    }

    /// Writes a front end.
    pub fn put_service(&self, key: ServiceKey<F>, service: Service) {
        put(&self.services, key, service);
    }

    /// Writes an address of this node.
    pub fn put_endpoint(&self, addr: F::Addr, endpoint: Endpoint) {
        put(&self.endpoints, addr, endpoint);
    }

    /// All entries of a table of flows.
    pub fn flows(&self, table: FlowTable) -> Vec<(FlowKey<F>, Flow<F>)> {
        self.flows.borrow().get(&table).cloned().unwrap_or_default()
    }

    /// Runs `change` on a flow, if it is there.
    fn with_flow<R>(
        &self,
        table: FlowTable,
        key: &FlowKey<F>,
        change: impl FnOnce(&mut Flow<F>) -> R,
    ) -> Option<R> {
        let mut flows = self.flows.borrow_mut();
        flows.get_mut(&table)?.iter_mut().find(|(own, _)| own == key).map(|(_, flow)| change(flow))
    }
}

fn get<K: PartialEq, V: Copy>(map: &Map<K, V>, key: &K) -> Option<Box<V>> {
    map.borrow().iter().find(|(own, _)| own == key).map(|(_, value)| Box::new(*value))
}

fn put<K: PartialEq, V>(map: &Map<K, V>, key: K, value: V) {
    let mut map = map.borrow_mut();
    map.retain(|(own, _)| *own != key);
    map.push((key, value));
}

/// Whether the first `bits` bits of two addresses are equal.
fn shares_prefix(left: &[u32], right: &[u32], bits: u32) -> bool {
    let bytes = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_ne_bytes()).collect() };
    let (left, right) = (bytes(left), bytes(right));
    (0..bits as usize).all(|bit| {
        let mask = 0x80 >> (bit % 8);
        left[bit / 8] & mask == right[bit / 8] & mask
    })
}

impl<F: Family> Tables<F> for HostTables<F> {
    type Ref<T: Copy + 'static> = Box<T>;

    fn config(&self) -> Option<Box<Config>> {
        Some(Box::new(self.config))
    }

    fn service(&self, key: &ServiceKey<F>) -> Option<Box<Service>> {
        get(&self.services, key)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn backend(&self, id: u32) -> Option<Box<Backend<F>>> {
        self.backends.get(id as usize).copied().map(Box::new)
    }

    fn affinity(&self, key: &AffinityKey<F>) -> Option<Box<AffinityValue>> {
        get(&self.sources, key)
    }

    fn bind(&self, key: &AffinityKey<F>, value: &AffinityValue) {
        put(&self.sources, *key, *value);
    }

    fn flow(&self, table: FlowTable, key: &FlowKey<F>, seen: &Seen) -> Option<Box<Flow<F>>> {
        self.with_flow(table, key, |flow| {
            flow.seen_ticks = seen.ticks;
            flow.packets += 1;
            flow.bytes += u64::from(seen.bytes);
            flow.state |= seen.state;
            Box::new(*flow)
        })
    }

    fn peek_flow(&self, table: FlowTable, key: &FlowKey<F>) -> Option<Box<Flow<F>>> {
        self.with_flow(table, key, |flow| Box::new(*flow))
    }

    fn set_flow_state(&self, table: FlowTable, key: &FlowKey<F>, state: u32) {
        self.with_flow(table, key, |flow| flow.state |= state);
    }

    fn has_flow(&self, table: FlowTable, key: &FlowKey<F>) -> bool {
        self.with_flow(table, key, |_| ()).is_some()
    }

    fn put_flow(&self, table: FlowTable, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        if self.with_flow(table, key, |own| *own = *flow).is_some() {
            return true;
        }
        self.add_flow(table, key, flow)
    }

    fn add_flow(&self, table: FlowTable, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        if self.has_flow(table, key) {
            return false;
        }
        let mut flows = self.flows.borrow_mut();
        let entries = flows.entry(table).or_default();
        if entries.len() >= self.flow_capacity {
            return false;
        }
        entries.push((*key, *flow));
        true
    }

    fn remove_flow(&self, table: FlowTable, key: &FlowKey<F>) {
        if let Some(entries) = self.flows.borrow_mut().get_mut(&table) {
            entries.retain(|(own, _)| own != key);
        }
    }

    fn fragment(&self, key: &FragmentKey<F>) -> Option<Box<FragmentPorts>> {
        get(&self.fragments, key)
    }

    fn note_fragment(&self, key: &FragmentKey<F>, ports: &FragmentPorts) {
        put(&self.fragments, *key, *ports);
    }

    fn endpoint(&self, addr: &F::Addr) -> Option<Box<Endpoint>> {
        get(&self.endpoints, addr)
    }

    fn mark_translated(&self, addr: &F::Addr, bits: u32) {
        for (own, endpoint) in self.endpoints.borrow_mut().iter_mut() {
            if own == addr {
                endpoint.translated |= bits;
            }
        }
    }

    fn node(&self, addr: &F::Addr) -> Option<Box<Node>> {
        self.nodes
            .iter()
            .filter(|(bits, prefix, _)| shares_prefix(addr.as_ref(), prefix.as_ref(), *bits))
            .max_by_key(|(bits, _, _)| *bits)
            .map(|(_, _, node)| Box::new(*node))
    }

    fn peer(&self, index: u32) -> Option<Box<Peer>> {
        self.peers.get(index as usize).copied().map(Box::new)
    }

    fn is_in_range(&self, service: u32, addr: &F::Addr) -> bool {
        self.ranges.iter().any(|(bits, id, prefix)| {
            *id == service && shares_prefix(addr.as_ref(), prefix.as_ref(), *bits)
        })
    }

    fn socket(&self, key: &SocketKey<F>) -> Option<Box<SocketPeer<F>>> {
        get(&self.sockets, key)
    }

    fn note_socket(&self, key: &SocketKey<F>, peer: &SocketPeer<F>) {
        put(&self.sockets, *key, *peer);
    }

    fn report_opened(&self, headers: &Headers<F>, service: u32, backend: u32, _at: Ingress) {
        let client = (F::addr_to_ip(headers.src), u16::from_be(headers.sport_be));
        self.opened.borrow_mut().push(Opened { client, service, backend });
    }

    fn now_ticks(&self) -> u64 {
        self.now_ticks
    }
}
