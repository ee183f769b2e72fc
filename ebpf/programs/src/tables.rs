//! The engine's tables, bound to the kernel's maps.

use aya_ebpf::{btf_maps::lpm_trie, helpers::generated::bpf_jiffies64};
use skep_abi::{
    AffinityKey, AffinityValue, BACKENDS_PER_CHUNK, Backend, Config, Endpoint, EndpointKey,
    Family as _, Flow, FlowKey, FragmentKey, FragmentPorts, Node, Peer, SLOTS_PER_BLOCK,
    SLOTS_PER_CHUNK, Service, ServiceKey, SocketKey, SocketPeer, V4, V6,
};
use skep_engine::{FlowTable, Ingress, Opening, Seen, Tables};
use skep_packet::{Headers, Tuple};

use crate::{
    flows::{flows4, flows6, with_flows},
    maps,
};

/// `BPF_ANY`: create or replace.
const ANY: u64 = 0;
/// `BPF_NOEXIST`: create only.
const CREATE: u64 = 1;

/// The kernel's tables, as the programs that are attached use them.
pub struct LiveTables;

#[cfg(not(feature = "trace"))]
pub use LiveTables as KernelTables;

#[cfg(feature = "trace")]
pub use crate::trace::KernelTables;

macro_rules! kernel_tables {
    ($family:ty, $addr:ty, $bits:literal, $services:ident, $backends:ident, $sources:ident, $flows:ident, $embryos:ident,
     $snat:ident, $endpoints:ident, $nodes:ident, $sockets:ident, $ranges:ident, $fragments:ident,
     $calls:ident) => {
        // SAFETY of all blocks below: the maps hand out pointers to whole values that stay readable
        // until the program ends (the kernel frees entries after a grace period; an entry that is
        // reused meanwhile gives the old or the new value, both well formed as they are plain
        // integers). Writes go to single words, for which the same holds.
        impl Tables<$family> for LiveTables {
            type Ref<T: Copy + 'static> = &'static T;

            #[inline(always)]
            fn config(&self) -> Option<&'static Config> {
                config()
            }

            #[inline(always)]
            fn service(&self, key: &ServiceKey<$family>) -> Option<&'static Service> {
                // SAFETY: see above.
                unsafe { maps::$services.get(key) }
            }

            #[inline(always)]
            fn slot(&self, index: u32) -> Option<u32> {
                let block = index % SLOTS_PER_CHUNK / SLOTS_PER_BLOCK;
                let block = maps::SLOTS.get_value(index / SLOTS_PER_CHUNK, &block)?;
                block.backends.get((index % SLOTS_PER_BLOCK) as usize).copied()
            }

            #[inline(always)]
            fn backend(&self, id: u32) -> Option<&'static Backend<$family>> {
                let chunk = id / BACKENDS_PER_CHUNK;
                maps::$backends.get_value(chunk, &(id % BACKENDS_PER_CHUNK))
            }

            #[inline(always)]
            fn affinity(&self, key: &AffinityKey<$family>) -> Option<&'static AffinityValue> {
                // SAFETY: see above.
                unsafe { maps::$sources.get(key) }
            }

            #[inline(always)]
            fn bind(&self, key: &AffinityKey<$family>, value: &AffinityValue) {
                let _ = maps::$sources.insert(key, value, ANY);
            }

            #[inline(always)]
            fn flow(
                &self,
                table: FlowTable,
                key: &FlowKey<$family>,
                seen: &Seen,
            ) -> Option<&'static Flow<$family>> {
                let flow =
                    with_flows!(table, $flows, $embryos, $snat, map => map.get_ptr_mut(key))?;
                if cfg!(not(feature = "trace")) {
                    // SAFETY: see above; counts may miss a packet when two processors add at once.
                    unsafe {
                        (*flow).seen_ticks = seen.ticks;
                        (*flow).packets += 1;
                        (*flow).bytes += u64::from(seen.bytes);
                        if seen.state != 0 {
                            (*flow).state |= seen.state;
                        }
                    }
                }
                // SAFETY: see above.
                Some(unsafe { &*flow })
            }

            #[inline(always)]
            fn peek_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<$family>,
            ) -> Option<&'static Flow<$family>> {
                let flow = with_flows!(table, $flows, $embryos, $snat, map => map.get_ptr(key))?;
                // SAFETY: see above.
                Some(unsafe { &*flow })
            }

            #[inline(always)]
            fn set_flow_state(&self, table: FlowTable, key: &FlowKey<$family>, state: u32) {
                $calls::mark(table as u32, key, state);
            }

            #[inline(always)]
            fn has_flow(&self, table: FlowTable, key: &FlowKey<$family>) -> bool {
                $calls::has(table as u32, key) != 0
            }

            #[inline(always)]
            fn put_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<$family>,
                flow: &Flow<$family>,
            ) -> bool {
                $calls::write(table as u32, key, flow, ANY) != 0
            }

            #[inline(always)]
            fn add_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<$family>,
                flow: &Flow<$family>,
            ) -> bool {
                $calls::write(table as u32, key, flow, CREATE) != 0
            }

            #[inline(always)]
            fn open_flows(
                &self,
                headers: &Headers<$family>,
                to: &mut Tuple<$family>,
                opening: &Opening,
            ) -> u32 {
                $calls::open(headers, to, opening)
            }

            #[inline(always)]
            fn ends_closed(&self, key: &FlowKey<$family>) -> bool {
                $calls::end_closed(key) != 0
            }

            #[inline(always)]
            fn remove_flow(&self, table: FlowTable, key: &FlowKey<$family>) {
                $calls::remove(table as u32, key);
            }

            #[inline(always)]
            fn fragment(&self, key: &FragmentKey<$family>) -> Option<&'static FragmentPorts> {
                // SAFETY: see above.
                unsafe { maps::$fragments.get(key) }
            }

            #[inline(always)]
            fn note_fragment(&self, key: &FragmentKey<$family>, ports: &FragmentPorts) {
                let _ = maps::$fragments.insert(key, ports, ANY);
            }

            #[inline(always)]
            fn endpoint(&self, addr: &$addr) -> Option<&'static Endpoint> {
                // SAFETY: see above.
                unsafe { maps::$endpoints.get(EndpointKey { addr: *addr }) }
            }

            #[inline(always)]
            fn mark_translated(&self, addr: &$addr, bits: u32) {
                if let Some(endpoint) = maps::$endpoints.get_ptr_mut(EndpointKey { addr: *addr }) {
                    // SAFETY: see above; bits are only ever set.
                    unsafe { (*endpoint).translated |= bits };
                }
            }

            #[inline(always)]
            fn node(&self, addr: &$addr) -> Option<&'static Node> {
                maps::$nodes.get(&lpm_trie::Key::new($bits, *addr))
            }

            #[inline(always)]
            fn peer(&self, index: u32) -> Option<&'static Peer> {
                peer(index)
            }

            #[inline(always)]
            fn is_in_range(&self, service: u32, addr: &$addr) -> bool {
                let mut client = [0; 1 + <$family>::WORDS];
                client[0] = service;
                for number in 0..<$family>::WORDS {
                    client[1 + number] = addr[number];
                }
                maps::$ranges.get(&lpm_trie::Key::new(32 + $bits, client)).is_some()
            }

            #[inline(always)]
            fn socket(&self, key: &SocketKey<$family>) -> Option<&'static SocketPeer<$family>> {
                // SAFETY: see above.
                unsafe { maps::$sockets.get(key) }
            }

            #[inline(always)]
            fn note_socket(&self, key: &SocketKey<$family>, peer: &SocketPeer<$family>) {
                let _ = maps::$sockets.insert(key, peer, ANY);
            }

            #[inline(always)]
            fn report_opened(
                &self,
                headers: &Headers<$family>,
                service: u32,
                backend: u32,
                at: Ingress,
            ) {
                $calls::opened(headers, service, backend, at.hook as u32, at.ifindex);
            }

            #[inline(always)]
            fn now_ticks(&self) -> u64 {
                // SAFETY: the helper takes nothing and reads a counter.
                unsafe { bpf_jiffies64() }
            }
        }
    };
}

kernel_tables!(
    V4, [u32; 1], 32, SERVICES4, BACKENDS4, SOURCES4, FLOWS4, EMBRYOS4, SNAT4, ENDPOINTS4, NODES4,
    SOCKETS4, RANGES4, FRAGMENTS4, flows4
);
kernel_tables!(
    V6, [u32; 4], 128, SERVICES6, BACKENDS6, SOURCES6, FLOWS6, EMBRYOS6, SNAT6, ENDPOINTS6, NODES6,
    SOCKETS6, RANGES6, FRAGMENTS6, flows6
);

/// What is known of the node.
#[inline(always)]
pub fn config() -> Option<&'static Config> {
    maps::CONFIG.get(0)
}

/// The node with this index.
#[inline(always)]
pub fn peer(index: u32) -> Option<&'static Peer> {
    maps::PEERS.get(index)
}
