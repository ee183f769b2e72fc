//! What the engine asks of its tables: each method is at most one map operation in the kernel.

use core::ops::Deref;

use skep_abi::{
    AffinityKey, AffinityValue, Backend, Config, Endpoint, Family, Flow, FlowKey, FragmentKey,
    FragmentPorts, Node, Peer, Service, ServiceKey, SocketKey, SocketPeer,
};
use skep_packet::{Headers, Tuple};

use crate::{Ingress, Net, Opening, end_closed, open_flows};

/// Which table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowTable {
    /// Established.
    Flows,
    /// Not answered yet.
    Embryos,
    /// Replies to translated sources.
    Snat,
}

/// What a packet adds to its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Now.
    pub ticks: u64,
    /// Bytes of the packet.
    pub bytes: u32,
    /// Bits of [`skep_abi::flow_state`] to set.
    pub state: u32,
}

/// The tables of one address family, and the clock.
pub trait Tables<F: Family> {
    /// An entry while it is looked at: a pointer into the map in the kernel, a copy on the host.
    type Ref<T: Copy + 'static>: Deref<Target = T>;

    /// What is known of the node.
    fn config(&self) -> Option<Self::Ref<Config>>;
    /// The front end under `key`.
    fn service(&self, key: &ServiceKey<F>) -> Option<Self::Ref<Service>>;
    /// The backend id in slot `index`.
    fn slot(&self, index: u32) -> Option<u32>;
    /// The backend with this id.
    fn backend(&self, id: u32) -> Option<Self::Ref<Backend<F>>>;
    /// The backend a client is bound to.
    fn affinity(&self, key: &AffinityKey<F>) -> Option<Self::Ref<AffinityValue>>;
    /// Binds a client to a backend. An LRU table: never full.
    fn bind(&self, key: &AffinityKey<F>, value: &AffinityValue);

    /// The flow under `key`, with `seen` added to it in place.
    fn flow(&self, table: FlowTable, key: &FlowKey<F>, seen: &Seen) -> Option<Self::Ref<Flow<F>>>;
    /// The flow under `key`, as it is.
    fn peek_flow(&self, table: FlowTable, key: &FlowKey<F>) -> Option<Self::Ref<Flow<F>>>;
    /// Sets bits of the flow's state, if it is there.
    fn set_flow_state(&self, table: FlowTable, key: &FlowKey<F>, state: u32);
    /// Whether there is a flow under `key`.
    fn has_flow(&self, table: FlowTable, key: &FlowKey<F>) -> bool;
    /// Writes a flow, over one that may be there; false when the table is full.
    fn put_flow(&self, table: FlowTable, key: &FlowKey<F>, flow: &Flow<F>) -> bool;
    /// Adds a flow; false when there is one under this key or the table is full.
    fn add_flow(&self, table: FlowTable, key: &FlowKey<F>, flow: &Flow<F>) -> bool;
    /// Writes a flow in the place of another connection's; false when somebody else was faster or the table
    /// is full.
    fn replace_flow(&self, table: FlowTable, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        self.remove_flow(table, key);
        self.add_flow(table, key, flow)
    }
    /// [`open_flows`]; the kernel has it as a function of its own, which the verifier walks once.
    fn open_flows(&self, headers: &Headers<F>, to: &mut Tuple<F>, opening: &Opening) -> u32
    where
        Self: Sized,
        F: Net,
    {
        open_flows(self, headers, to, opening)
    }
    /// [`end_closed`]; the kernel has it as a function of its own, which the verifier walks once.
    fn ends_closed(&self, key: &FlowKey<F>) -> bool
    where
        Self: Sized,
        F: Net,
    {
        end_closed(self, key)
    }
    /// Removes a flow, if it is there.
    fn remove_flow(&self, table: FlowTable, key: &FlowKey<F>);

    /// The ports of a packet in pieces.
    fn fragment(&self, key: &FragmentKey<F>) -> Option<Self::Ref<FragmentPorts>>;
    /// Notes the ports of a packet in pieces. An LRU table: never full.
    fn note_fragment(&self, key: &FragmentKey<F>, ports: &FragmentPorts);

    /// The endpoint with this address.
    fn endpoint(&self, addr: &F::Addr) -> Option<Self::Ref<Endpoint>>;
    /// Sets bits of [`skep_abi::Endpoint::translated`], if the endpoint is there.
    fn mark_translated(&self, addr: &F::Addr, bits: u32);
    /// The longest prefix that holds this address.
    fn node(&self, addr: &F::Addr) -> Option<Self::Ref<Node>>;
    /// The node with this index.
    fn peer(&self, index: u32) -> Option<Self::Ref<Peer>>;

    /// Whether a range of clients of the Service with this id holds the address.
    fn is_in_range(&self, service: u32, addr: &F::Addr) -> bool;

    /// What a socket believes to talk to.
    fn socket(&self, key: &SocketKey<F>) -> Option<Self::Ref<SocketPeer<F>>>;
    /// Notes what a socket believes to talk to. An LRU table: never full.
    fn note_socket(&self, key: &SocketKey<F>, peer: &SocketPeer<F>);

    /// Reports that a packet opened a connection to a Service.
    fn report_opened(&self, headers: &Headers<F>, service: u32, backend: u32, at: Ingress);

    /// The clock, in ticks.
    fn now_ticks(&self) -> u64;
}
