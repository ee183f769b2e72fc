//! The engine's tables, bound to the node's pinned maps: read, never written.

use std::cell::RefCell;
use std::net::IpAddr;

use skep_abi::{
    AffinityKey, AffinityValue, Backend, Config, Endpoint, EndpointKey, Family, Flow, FlowKey,
    FragmentKey, FragmentPorts, NO_PEER, Node, NodeKey, Peer, RangeKey, Service, ServiceKey,
    SocketKey, SocketPeer,
};
use skep_bpf::{FamilyTables, Slots, Table};
use skep_engine::{FlowTable, Ingress, Seen, Tables};
use skep_packet::Headers;

/// The live tables of one family. The trait has no errors: the first one is kept until it is asked for.
pub(crate) struct LiveTables<'a, F: Family> {
    pub(crate) config: Config,
    pub(crate) family: &'a FamilyTables<F>,
    pub(crate) slots: &'a Slots,
    pub(crate) peers: &'a Table<u32, Peer>,
    pub(crate) now_ticks: u64,
    pub(crate) failed: RefCell<Option<skep_bpf::Error>>,
}

impl<F: Family> LiveTables<'_, F> {
    /// The first error of a look-up since the last call.
    pub(crate) fn take_failure(&self) -> Option<skep_bpf::Error> {
        self.failed.take()
    }

    fn read<V>(&self, result: skep_bpf::Result<Option<V>>) -> Option<Box<V>> {
        match result {
            Ok(found) => found.map(Box::new),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    fn flows(&self, table: FlowTable) -> &Table<FlowKey<F>, Flow<F>> {
        match table {
            FlowTable::Flows => &self.family.flows,
            FlowTable::Embryos => &self.family.embryos,
            FlowTable::Snat => &self.family.snat,
        }
    }
}

/// The other node that an address belongs to, by its index in `peers`.
pub(crate) fn peer_of<F: Family>(
    tables: &FamilyTables<F>,
    address: IpAddr,
) -> skep_bpf::Result<Option<u32>> {
    let Some(addr) = F::addr_from_ip(address) else { return Ok(None) };
    let node = tables.nodes.get(&NodeKey { prefix_len: bits::<F>(), addr })?;
    Ok(node.map(|node| node.peer).filter(|peer| *peer != NO_PEER))
}

/// Bits of an address.
fn bits<F: Family>() -> u32 {
    F::WORDS as u32 * u32::BITS
}

impl<F: Family> Tables<F> for LiveTables<'_, F> {
    type Ref<T: Copy + 'static> = Box<T>;

    fn config(&self) -> Option<Box<Config>> {
        Some(Box::new(self.config))
    }

    fn service(&self, key: &ServiceKey<F>) -> Option<Box<Service>> {
        self.read(self.family.services.get(key))
    }

    fn slot(&self, index: u32) -> Option<u32> {
        let run = self.slots.read(index, 1).map(|run| run.first().copied());
        self.read(run).map(|slot| *slot)
    }

    fn backend(&self, id: u32) -> Option<Box<Backend<F>>> {
        self.read(self.family.backends.get(id).map(Some))
    }

    fn affinity(&self, key: &AffinityKey<F>) -> Option<Box<AffinityValue>> {
        self.read(self.family.sources.get(key))
    }

    fn bind(&self, _: &AffinityKey<F>, _: &AffinityValue) {}

    fn flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Seen) -> Option<Box<Flow<F>>> {
        self.read(self.flows(table).get(key))
    }

    fn peek_flow(&self, table: FlowTable, key: &FlowKey<F>) -> Option<Box<Flow<F>>> {
        self.read(self.flows(table).get(key))
    }

    fn set_flow_state(&self, _: FlowTable, _: &FlowKey<F>, _: u32) {}

    fn has_flow(&self, table: FlowTable, key: &FlowKey<F>) -> bool {
        self.read(self.flows(table).get(key)).is_some()
    }

    fn put_flow(&self, _: FlowTable, _: &FlowKey<F>, _: &Flow<F>) -> bool {
        true
    }

    fn add_flow(&self, table: FlowTable, key: &FlowKey<F>, _: &Flow<F>) -> bool {
        !self.has_flow(table, key)
    }

    fn remove_flow(&self, _: FlowTable, _: &FlowKey<F>) {}

    fn fragment(&self, key: &FragmentKey<F>) -> Option<Box<FragmentPorts>> {
        self.read(self.family.fragments.get(key))
    }

    fn note_fragment(&self, _: &FragmentKey<F>, _: &FragmentPorts) {}

    fn endpoint(&self, addr: &F::Addr) -> Option<Box<Endpoint>> {
        self.read(self.family.endpoints.get(&EndpointKey { addr: *addr }))
    }

    fn mark_translated(&self, _: &F::Addr, _: u32) {}

    fn node(&self, addr: &F::Addr) -> Option<Box<Node>> {
        // With all bits the kernel looks for the longest prefix.
        self.read(self.family.nodes.get(&NodeKey { prefix_len: bits::<F>(), addr: *addr }))
    }

    fn peer(&self, index: u32) -> Option<Box<Peer>> {
        self.read(self.peers.get(&index))
    }

    fn is_in_range(&self, service: u32, addr: &F::Addr) -> bool {
        let key = RangeKey { prefix_len: u32::BITS + bits::<F>(), service, addr: *addr };
        self.read(self.family.ranges.get(&key)).is_some()
    }

    fn socket(&self, key: &SocketKey<F>) -> Option<Box<SocketPeer<F>>> {
        self.read(self.family.sockets.get(key))
    }

    fn note_socket(&self, _: &SocketKey<F>, _: &SocketPeer<F>) {}

    fn report_opened(&self, _: &Headers<F>, _: u32, _: u32, _: Ingress) {}

    fn now_ticks(&self) -> u64 {
        self.now_ticks
    }
}
