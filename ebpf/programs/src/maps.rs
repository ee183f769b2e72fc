//! The tables, under the names that people see in `bpftool map`. Sizes here are the smallest that work;
//! the loader sets the node's.
//!
//! `slots` and `backends4`/`backends6` grow without a restart: each is an array of chunks, all of one size
//! so that the verifier inlines both look-ups. The map under the table's own name is the first chunk and the
//! pattern of the others; programs reach every one through the array.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use skep_abi::{
    AffinityKey, AffinityValue, BACKENDS_PER_CHUNK, Backend, COUNTERS, Config, Counter, Endpoint,
    EndpointKey, Event, Flow, FlowKey, FragmentKey, FragmentPorts, Listeners, NextHop, Node, Peer,
    SLOTS_PER_BLOCK, SLOTS_PER_CHUNK, Service, ServiceKey, SlotBlock, SocketKey, SocketPeer, V4,
    V6,
};

/// `BPF_F_NO_PREALLOC`: memory follows the entries.
const GROWS: usize = 1;
/// `BPF_F_MMAPABLE`: user space writes through memory.
const MAPPED: usize = 1 << 10;

/// A chunk of `slots`.
type SlotChunk = Array<SlotBlock, { (SLOTS_PER_CHUNK / SLOTS_PER_BLOCK) as usize }, MAPPED>;
/// A chunk of `backends4` or `backends6`.
type BackendChunk<F> = Array<Backend<F>, { BACKENDS_PER_CHUNK as usize }, MAPPED>;

/// Declares one family's tables.
macro_rules! family_maps {
    ($family:ty, $addr:ty,
     $services:ident $services_name:literal,
     $first:ident $first_name:literal $backends:ident $backends_name:literal,
     $sources:ident $sources_name:literal, $flows:ident $flows_name:literal,
     $embryos:ident $embryos_name:literal, $snat:ident $snat_name:literal,
     $endpoints:ident $endpoints_name:literal, $nodes:ident $nodes_name:literal,
     $sockets:ident $sockets_name:literal,
     $ranges:ident $ranges_name:literal $range:ty,
     $fragments:ident $fragments_name:literal) => {
        #[btf_map(name = $services_name)]
        pub static $services: HashMap<ServiceKey<$family>, Service, 1024, GROWS> = HashMap::new();
        #[btf_map(name = $first_name)]
        pub static $first: BackendChunk<$family> = Array::new();
        #[btf_map(name = $backends_name)]
        pub static $backends: ArrayOfMaps<BackendChunk<$family>, 16> = ArrayOfMaps::new();
        #[btf_map(name = $sources_name)]
        pub static $sources: LruHashMap<AffinityKey<$family>, AffinityValue, 1024> =
            LruHashMap::new();
        #[btf_map(name = $flows_name)]
        pub static $flows: HashMap<FlowKey<$family>, Flow<$family>, 1024, GROWS> = HashMap::new();
        #[btf_map(name = $embryos_name)]
        pub static $embryos: LruHashMap<FlowKey<$family>, Flow<$family>, 1024> = LruHashMap::new();
        #[btf_map(name = $snat_name)]
        pub static $snat: HashMap<FlowKey<$family>, Flow<$family>, 1024, GROWS> = HashMap::new();
        #[btf_map(name = $endpoints_name)]
        pub static $endpoints: HashMap<EndpointKey<$family>, Endpoint, 1024, GROWS> =
            HashMap::new();
        #[btf_map(name = $nodes_name)]
        pub static $nodes: LpmTrie<$addr, Node, 1024> = LpmTrie::new();
        #[btf_map(name = $sockets_name)]
        pub static $sockets: LruHashMap<SocketKey<$family>, SocketPeer<$family>, 1024> =
            LruHashMap::new();
        // A Service's id and an address, as skep_abi::RangeKey has them behind the prefix's length.
        #[btf_map(name = $ranges_name)]
        pub static $ranges: LpmTrie<$range, u32, 1024> = LpmTrie::new();
        #[btf_map(name = $fragments_name)]
        pub static $fragments: LruHashMap<FragmentKey<$family>, FragmentPorts, 1024> =
            LruHashMap::new();
    };
}

family_maps!(
    V4, [u32; 1],
    SERVICES4 "services4",
    FIRST_BACKENDS4 "backends4" BACKENDS4 "backend_chunks4",
    SOURCES4 "sources4", FLOWS4 "flows4",
    EMBRYOS4 "embryos4", SNAT4 "snat4", ENDPOINTS4 "endpoints4", NODES4 "nodes4",
    SOCKETS4 "sockets4", RANGES4 "ranges4" [u32; 2], FRAGMENTS4 "fragments4"
);
family_maps!(
    V6, [u32; 4],
    SERVICES6 "services6",
    FIRST_BACKENDS6 "backends6" BACKENDS6 "backend_chunks6",
    SOURCES6 "sources6", FLOWS6 "flows6",
    EMBRYOS6 "embryos6", SNAT6 "snat6", ENDPOINTS6 "endpoints6", NODES6 "nodes6",
    SOCKETS6 "sockets6", RANGES6 "ranges6" [u32; 5], FRAGMENTS6 "fragments6"
);

#[btf_map(name = "slots")]
pub static FIRST_SLOTS: SlotChunk = Array::new();
#[btf_map(name = "slot_chunks")]
pub static SLOTS: ArrayOfMaps<SlotChunk, 16> = ArrayOfMaps::new();
#[btf_map(name = "peers")]
pub static PEERS: Array<Peer, 1024> = Array::new();
#[btf_map(name = "next_hops")]
pub static NEXT_HOPS: Array<NextHop, 2048> = Array::new();
#[btf_map(name = "config")]
pub static CONFIG: Array<Config, 1> = Array::new();
#[btf_map(name = "counters")]
pub static COUNTS: PerCpuArray<Counter, { COUNTERS as usize }> = PerCpuArray::new();
#[btf_map(name = "listeners")]
pub static LISTENERS: Array<Listeners, 1> = Array::new();
#[btf_map(name = "events")]
pub static EVENTS: RingBuf<Event, 262_144> = RingBuf::new();
