//! Tables that note what is asked of them and keep what is to be written from whom they ask: how a
//! decision is explained without one trace of it remaining. On the host they stand before any tables; the
//! programs are built a second time with them before the kernel's.

use skep_abi::{
    AffinityKey, AffinityValue, Backend, Config, Endpoint, Family, Flow, FlowKey, FragmentKey,
    FragmentPorts, NO_BACKEND, Node, Peer, Service, ServiceKey, SocketKey, SocketPeer, TraceStep,
    TraceTable,
};
use skep_packet::{Headers, Tuple};

use crate::{FlowTable, Ingress, Net, Opening, Seen, Tables, end_closed, open_flows};

/// Where steps are noted: one method for each kind of key.
pub trait Notebook {
    /// A key that is an address; `number` are the bits that are marked.
    fn address<F: Family>(&self, step: TraceStep, table: TraceTable, addr: &F::Addr, number: u32);
    /// A key that is an index; `result` is the backend id there.
    fn number<F: Family>(&self, step: TraceStep, table: TraceTable, number: u32, result: u32);
    /// A front end.
    fn service<F: Family>(&self, step: TraceStep, key: &ServiceKey<F>);
    /// A client of a Service and the backend it is bound to.
    fn client<F: Family>(&self, step: TraceStep, key: &AffinityKey<F>, backend: u32);
    /// A client of a Service that has ranges.
    fn range<F: Family>(&self, step: TraceStep, service: u32, client: &F::Addr);
    /// A socket and its backend.
    fn socket<F: Family>(&self, step: TraceStep, key: &SocketKey<F>, backend: u32);
    /// A flow; `bits` are those that are marked.
    fn flow<F: Family>(&self, step: TraceStep, table: TraceTable, key: &FlowKey<F>, bits: u32);
}

/// Other tables, looked at. [`Tables::flow`] of those must not write.
#[derive(Debug)]
pub struct Traced<'a, T, N> {
    tables: &'a T,
    notes: N,
}

impl<'a, T, N> Traced<'a, T, N> {
    /// Notes what is asked of `tables`.
    pub const fn new(tables: &'a T, notes: N) -> Self {
        Self { tables, notes }
    }

    /// What was noted so far.
    pub fn notes(&self) -> &N {
        &self.notes
    }
}

#[inline(always)]
fn outcome(found: bool) -> TraceStep {
    if found { TraceStep::Found } else { TraceStep::Missed }
}

#[inline(always)]
fn name(table: FlowTable) -> TraceTable {
    match table {
        FlowTable::Flows => TraceTable::Flows,
        FlowTable::Embryos => TraceTable::Embryos,
        FlowTable::Snat => TraceTable::Snat,
    }
}

impl<F: Family, T: Tables<F>, N: Notebook> Tables<F> for Traced<'_, T, N> {
    type Ref<V: Copy + 'static> = T::Ref<V>;

    #[inline(always)]
    fn config(&self) -> Option<T::Ref<Config>> {
        self.tables.config()
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey<F>) -> Option<T::Ref<Service>> {
        let found = self.tables.service(key);
        self.notes.service(outcome(found.is_some()), key);
        found
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        let found = self.tables.slot(index);
        let step = outcome(found.is_some());
        self.notes.number::<F>(step, TraceTable::Slots, index, found.unwrap_or(NO_BACKEND));
        found
    }

    #[inline(always)]
    fn backend(&self, id: u32) -> Option<T::Ref<Backend<F>>> {
        let found = self.tables.backend(id);
        self.notes.number::<F>(outcome(found.is_some()), TraceTable::Backends, id, NO_BACKEND);
        found
    }

    #[inline(always)]
    fn affinity(&self, key: &AffinityKey<F>) -> Option<T::Ref<AffinityValue>> {
        let found = self.tables.affinity(key);
        let backend = found.as_ref().map_or(NO_BACKEND, |bond| bond.backend);
        self.notes.client(outcome(found.is_some()), key, backend);
        found
    }

    #[inline(always)]
    fn bind(&self, key: &AffinityKey<F>, value: &AffinityValue) {
        self.notes.client(TraceStep::Written, key, value.backend);
    }

    #[inline(always)]
    fn flow(&self, table: FlowTable, key: &FlowKey<F>, seen: &Seen) -> Option<T::Ref<Flow<F>>> {
        let found = self.tables.flow(table, key, seen);
        self.notes.flow(outcome(found.is_some()), name(table), key, 0);
        found
    }

    #[inline(always)]
    fn peek_flow(&self, table: FlowTable, key: &FlowKey<F>) -> Option<T::Ref<Flow<F>>> {
        let found = self.tables.peek_flow(table, key);
        self.notes.flow(outcome(found.is_some()), name(table), key, 0);
        found
    }

    #[inline(always)]
    fn set_flow_state(&self, table: FlowTable, key: &FlowKey<F>, state: u32) {
        self.notes.flow(TraceStep::Marked, name(table), key, state);
    }

    #[inline(always)]
    fn has_flow(&self, table: FlowTable, key: &FlowKey<F>) -> bool {
        let found = self.tables.has_flow(table, key);
        self.notes.flow(outcome(found), name(table), key, 0);
        found
    }

    #[inline(always)]
    fn put_flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Flow<F>) -> bool {
        self.notes.flow(TraceStep::Written, name(table), key, 0);
        true
    }

    #[inline(always)]
    fn add_flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Flow<F>) -> bool {
        let free = !self.tables.has_flow(table, key);
        let step = if free { TraceStep::Written } else { TraceStep::Taken };
        self.notes.flow(step, name(table), key, 0);
        free
    }

    #[inline(always)]
    fn replace_flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Flow<F>) -> bool {
        self.notes.flow(TraceStep::Removed, name(table), key, 0);
        self.notes.flow(TraceStep::Written, name(table), key, 0);
        true
    }

    #[inline(never)]
    fn open_flows(&self, headers: &Headers<F>, to: &mut Tuple<F>, opening: &Opening) -> u32
    where
        F: Net,
    {
        open_flows(self, headers, to, opening)
    }

    #[inline(never)]
    fn ends_closed(&self, key: &FlowKey<F>) -> bool
    where
        F: Net,
    {
        end_closed(self, key)
    }

    #[inline(always)]
    fn remove_flow(&self, table: FlowTable, key: &FlowKey<F>) {
        self.notes.flow(TraceStep::Removed, name(table), key, 0);
    }

    /// Packets that are made to be explained are whole.
    #[inline(always)]
    fn fragment(&self, key: &FragmentKey<F>) -> Option<T::Ref<FragmentPorts>> {
        self.tables.fragment(key)
    }

    #[inline(always)]
    fn note_fragment(&self, _: &FragmentKey<F>, _: &FragmentPorts) {}

    #[inline(always)]
    fn endpoint(&self, addr: &F::Addr) -> Option<T::Ref<Endpoint>> {
        let found = self.tables.endpoint(addr);
        self.notes.address::<F>(outcome(found.is_some()), TraceTable::Endpoints, addr, 0);
        found
    }

    #[inline(always)]
    fn mark_translated(&self, addr: &F::Addr, bits: u32) {
        self.notes.address::<F>(TraceStep::Marked, TraceTable::Endpoints, addr, bits);
    }

    #[inline(always)]
    fn node(&self, addr: &F::Addr) -> Option<T::Ref<Node>> {
        let found = self.tables.node(addr);
        self.notes.address::<F>(outcome(found.is_some()), TraceTable::Nodes, addr, 0);
        found
    }

    #[inline(always)]
    fn peer(&self, index: u32) -> Option<T::Ref<Peer>> {
        let found = self.tables.peer(index);
        self.notes.number::<F>(outcome(found.is_some()), TraceTable::Peers, index, NO_BACKEND);
        found
    }

    #[inline(always)]
    fn is_in_range(&self, service: u32, addr: &F::Addr) -> bool {
        let found = self.tables.is_in_range(service, addr);
        self.notes.range::<F>(outcome(found), service, addr);
        found
    }

    #[inline(always)]
    fn socket(&self, key: &SocketKey<F>) -> Option<T::Ref<SocketPeer<F>>> {
        let found = self.tables.socket(key);
        let backend = found.as_ref().map_or(NO_BACKEND, |peer| peer.backend);
        self.notes.socket(outcome(found.is_some()), key, backend);
        found
    }

    #[inline(always)]
    fn note_socket(&self, key: &SocketKey<F>, peer: &SocketPeer<F>) {
        self.notes.socket(TraceStep::Written, key, peer.backend);
    }

    #[inline(always)]
    fn report_opened(&self, _: &Headers<F>, _: u32, _: u32, _: Ingress) {}

    #[inline(always)]
    fn now_ticks(&self) -> u64 {
        self.tables.now_ticks()
    }
}
