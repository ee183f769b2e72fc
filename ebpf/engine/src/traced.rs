//! Tables that note what is asked of them and keep what is to be written from whom they ask: how a
//! decision is explained without one trace of it remaining. The programs do the same to the kernel's
//! tables when they are loaded with their trace constant on.

use std::{cell::RefCell, vec::Vec};

use skep_abi::{
    AffinityKey, AffinityValue, Backend, Config, Endpoint, Family, Flow, FlowKey, NO_BACKEND, Node,
    Peer, Service, ServiceKey, SocketKey, SocketPeer, Trace, TraceStep, TraceTable,
    addr_to_v6_words,
};
use skep_packet::Headers;

use crate::{FlowTable, Ingress, Seen, Tables, Verdict};

/// Other tables, looked at. [`Tables::flow`] of those must not write.
#[derive(Debug)]
pub struct Traced<'a, T> {
    tables: &'a T,
    steps: RefCell<Vec<Trace>>,
}

impl<'a, T> Traced<'a, T> {
    /// Nothing asked yet.
    pub fn new(tables: &'a T) -> Self {
        Self { tables, steps: RefCell::default() }
    }

    /// What was asked so far.
    pub fn into_steps(self) -> Vec<Trace> {
        self.steps.into_inner()
    }

    /// Notes the verdict, as a program does before it carries it out.
    pub fn decided<F: Family>(&self, verdict: Verdict) {
        let (number, result) = (verdict.argument(), verdict.action() as u32);
        self.note::<F>(
            TraceStep::Verdict,
            TraceTable::None,
            Trace { number, result, ..Trace::default() },
        );
    }

    fn note<F: Family>(&self, step: TraceStep, table: TraceTable, key: Trace) {
        let (step, table, version) = (step as u8, table as u8, F::VERSION.into());
        self.steps.borrow_mut().push(Trace { step, table, version, ..key });
    }

    /// Notes a look-up and hands its result on.
    fn looked_up<F: Family, R>(
        &self,
        table: TraceTable,
        key: Trace,
        found: Option<R>,
    ) -> Option<R> {
        self.note::<F>(result(found.is_some()), table, key);
        found
    }
}

fn result(found: bool) -> TraceStep {
    if found { TraceStep::Found } else { TraceStep::Missed }
}

fn of_address<F: Family>(addr: &F::Addr) -> Trace {
    Trace { dst: addr_to_v6_words::<F>(addr), ..Trace::default() }
}

fn of_number(number: u32) -> Trace {
    Trace { number, ..Trace::default() }
}

fn of_service<F: Family>(key: &ServiceKey<F>) -> Trace {
    let (dport_be, proto, scope) = (key.port_be, key.proto, key.scope);
    Trace { dport_be, proto, scope, ..of_address::<F>(&key.addr) }
}

fn of_client<F: Family>(key: &AffinityKey<F>, backend: u32) -> Trace {
    let (cookie, src) = (key.netns_cookie, addr_to_v6_words::<F>(&key.client));
    Trace { cookie, src, result: backend, ..of_number(key.service) }
}

fn of_socket<F: Family>(key: &SocketKey<F>, backend: u32) -> Trace {
    let (cookie, dport_be) = (key.cookie, key.port_be);
    Trace { cookie, dport_be, result: backend, ..of_address::<F>(&key.addr) }
}

fn of_flow<F: Family>(key: &FlowKey<F>) -> Trace {
    let (src, sport_be, dport_be) = (addr_to_v6_words::<F>(&key.src), key.sport_be, key.dport_be);
    Trace { src, sport_be, dport_be, proto: key.proto, ..of_address::<F>(&key.dst) }
}

fn name(table: FlowTable) -> TraceTable {
    match table {
        FlowTable::Flows => TraceTable::Flows,
        FlowTable::Embryos => TraceTable::Embryos,
        FlowTable::Snat => TraceTable::Snat,
    }
}

impl<F: Family, T: Tables<F>> Tables<F> for Traced<'_, T> {
    type Ref<V: Copy + 'static> = T::Ref<V>;

    fn config(&self) -> Option<T::Ref<Config>> {
        self.tables.config()
    }

    fn service(&self, key: &ServiceKey<F>) -> Option<T::Ref<Service>> {
        let found = self.tables.service(key);
        self.looked_up::<F, _>(TraceTable::Services, of_service(key), found)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        let found = self.tables.slot(index);
        let key = Trace { result: found.unwrap_or(NO_BACKEND), ..of_number(index) };
        self.looked_up::<F, _>(TraceTable::Slots, key, found)
    }

    fn backend(&self, id: u32) -> Option<T::Ref<Backend<F>>> {
        let found = self.tables.backend(id);
        self.looked_up::<F, _>(TraceTable::Backends, of_number(id), found)
    }

    fn affinity(&self, key: &AffinityKey<F>) -> Option<T::Ref<AffinityValue>> {
        let found = self.tables.affinity(key);
        let backend = found.as_ref().map_or(NO_BACKEND, |bond| bond.backend);
        self.looked_up::<F, _>(TraceTable::Sources, of_client(key, backend), found)
    }

    fn bind(&self, key: &AffinityKey<F>, value: &AffinityValue) {
        self.note::<F>(TraceStep::Written, TraceTable::Sources, of_client(key, value.backend));
    }

    fn flow(&self, table: FlowTable, key: &FlowKey<F>, seen: &Seen) -> Option<T::Ref<Flow<F>>> {
        let found = self.tables.flow(table, key, seen);
        self.looked_up::<F, _>(name(table), of_flow(key), found)
    }

    fn set_flow_state(&self, table: FlowTable, key: &FlowKey<F>, state: u32) {
        let key = Trace { number: state, ..of_flow(key) };
        self.note::<F>(TraceStep::Marked, name(table), key);
    }

    fn has_flow(&self, table: FlowTable, key: &FlowKey<F>) -> bool {
        let found = self.tables.has_flow(table, key);
        self.note::<F>(result(found), name(table), of_flow(key));
        found
    }

    fn put_flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Flow<F>) -> bool {
        self.note::<F>(TraceStep::Written, name(table), of_flow(key));
        true
    }

    fn add_flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Flow<F>) -> bool {
        let free = !self.tables.has_flow(table, key);
        let step = if free { TraceStep::Written } else { TraceStep::Taken };
        self.note::<F>(step, name(table), of_flow(key));
        free
    }

    fn remove_flow(&self, table: FlowTable, key: &FlowKey<F>) {
        self.note::<F>(TraceStep::Removed, name(table), of_flow(key));
    }

    fn endpoint(&self, addr: &F::Addr) -> Option<T::Ref<Endpoint>> {
        let found = self.tables.endpoint(addr);
        self.looked_up::<F, _>(TraceTable::Endpoints, of_address::<F>(addr), found)
    }

    fn mark_translated(&self, addr: &F::Addr, bits: u32) {
        let key = Trace { number: bits, ..of_address::<F>(addr) };
        self.note::<F>(TraceStep::Marked, TraceTable::Endpoints, key);
    }

    fn node(&self, addr: &F::Addr) -> Option<T::Ref<Node>> {
        let found = self.tables.node(addr);
        self.looked_up::<F, _>(TraceTable::Nodes, of_address::<F>(addr), found)
    }

    fn peer(&self, index: u32) -> Option<T::Ref<Peer>> {
        let found = self.tables.peer(index);
        self.looked_up::<F, _>(TraceTable::Peers, of_number(index), found)
    }

    fn is_in_range(&self, service: u32, addr: &F::Addr) -> bool {
        let found = self.tables.is_in_range(service, addr);
        let key = Trace { src: addr_to_v6_words::<F>(addr), ..of_number(service) };
        self.note::<F>(result(found), TraceTable::Ranges, key);
        found
    }

    fn socket(&self, key: &SocketKey<F>) -> Option<T::Ref<SocketPeer<F>>> {
        let found = self.tables.socket(key);
        let backend = found.as_ref().map_or(NO_BACKEND, |peer| peer.backend);
        self.looked_up::<F, _>(TraceTable::Sockets, of_socket(key, backend), found)
    }

    fn note_socket(&self, key: &SocketKey<F>, peer: &SocketPeer<F>) {
        self.note::<F>(TraceStep::Written, TraceTable::Sockets, of_socket(key, peer.backend));
    }

    fn report_opened(&self, _: &Headers<F>, _: u32, _: u32, _: Ingress) {}

    fn now_ticks(&self) -> u64 {
        self.tables.now_ticks()
    }
}
