//! Tables `services4`/`services6` (hash), `slots` (array in chunks), `sources4`/`sources6` (LRU) and
//! `ranges4`/`ranges6` (longest prefix): which addresses are Services, where each one's backends lie,
//! which backend a client is bound to, and which clients may come.

use crate::Family;

/// In `slots`: no backend here (the run is not written yet). In a flow: not a Service's. Index 0 of the
/// backend arrays is never used.
pub const NO_BACKEND: u32 = 0;

/// Who sees an entry of `services`.
pub mod scope {
    /// Connections made on this node: sockets of the host and of pods, packets of pods.
    pub const INTERNAL: u8 = 0;
    /// Packets that arrive on the node's devices from elsewhere.
    pub const EXTERNAL: u8 = 1;
    /// Packets that another node chose a backend on this node for and sent on as they were
    /// ([`super::service_flags::DSR`]): the run holds this node's backends only.
    pub const LOCAL: u8 = 2;
}

/// A front end: one address, port and protocol, as seen from one scope.
///
/// A node port has one entry per address and scope it is served on (each node address; loopback in
/// [`scope::INTERNAL`] only). A Service address also has an entry with port 0 and protocol
/// [`crate::proto::ANY`] with [`service_flags::REJECT`]: what misses the exact entry is rejected there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceKey<F: Family> {
    /// The address clients use.
    pub addr: F::Addr,
    /// The port clients use.
    pub port_be: u16,
    /// A number of [`crate::proto`].
    pub proto: u8,
    /// A number of [`scope`].
    pub scope: u8,
}

/// What a front end leads to.
///
/// Written whole (one map update): first the run in `slots`, then this entry, then the old run is free
/// for reuse after a grace period (a program may still hold the old entry for microseconds).
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// First slot of the run in `slots`.
    pub slot_base: u32,
    /// Slots in the run; 0: no usable backend, clients are rejected at once.
    pub slot_count: u32,
    /// Number of the Service port, the same for all its front ends; key of affinity and of names.
    pub id: u32,
    /// Bits of [`service_flags`].
    pub flags: u32,
    /// How long a client stays with its backend after its last packet, in seconds.
    pub affinity_s: u32,
    /// Distinct backends in the run (for people; programs do not read it).
    pub backend_count: u32,
}

/// Bits of [`Service::flags`].
pub mod service_flags {
    /// A client address stays with one backend for [`super::Service::affinity_s`].
    pub const AFFINITY: u32 = 1 << 0;
    /// Always reject: no such port on this Service address, whatever `slot_count` says.
    pub const REJECT: u32 = 1 << 1;
    /// Keep the client's address (externalTrafficPolicy Local): all backends of the run are on this node.
    pub const LOCAL: u32 = 1 << 2;
    /// Drop instead of reject (no endpoint on this node with a Local policy).
    pub const DROP: u32 = 1 << 3;
    /// The front end is a node port.
    pub const NODE_PORT: u32 = 1 << 4;
    /// Only clients in one of the Service's ranges (tables `ranges4`/`ranges6`) may open connections.
    pub const SOURCE_RANGES: u32 = 1 << 5;
    /// Keep the client's address wherever the backend is: answers come back this way (somebody else's pod
    /// network, whose pods here and there know each other).
    pub const KEEP_SOURCE: u32 = 1 << 7;
    /// Give every client the node's address, even a pod of this node.
    pub const MASQUERADE: u32 = 1 << 8;
    /// Direct server return: a packet from elsewhere whose backend is on another node is sent to that
    /// node as it is, in an outer header, and the backend answers the client without coming back here.
    /// Such a front end has an entry in [`super::scope::LOCAL`] too, on every node; that of a node port
    /// is under each node's own address, whichever node the client named.
    pub const DSR: u32 = 1 << 6;
}

/// One range of clients that may use a Service: tables `ranges4`/`ranges6` (longest prefix), value
/// [`RANGE_ALLOWED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeKey<F: Family> {
    /// Leading bits of `service` and `addr` that count: 32 and the length of the range's prefix.
    pub prefix_len: u32,
    /// [`Service::id`].
    pub service: u32,
    /// The range; bits behind its prefix are zero.
    pub addr: F::Addr,
}

/// Value of every entry in `ranges4`/`ranges6`.
pub const RANGE_ALLOWED: u32 = 1;

/// Slots in one element of `slots` (elements of an array take at least 8 bytes; a slot needs 4).
pub const SLOTS_PER_BLOCK: u32 = 16;

/// Slots in one chunk of `slots`, 256 KiB: slot `n` is in chunk `n / SLOTS_PER_CHUNK`. The chunks are the
/// entries of `slot_chunks`, to which user space adds as Services need them; none ever goes.
pub const SLOTS_PER_CHUNK: u32 = 1 << 16;

/// One element of a chunk of `slots`: slot `n` of a chunk is number `n % 16` of element `n / 16`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotBlock {
    /// Backend ids; [`NO_BACKEND`] or an unused id: packets are dropped and counted.
    pub backends: [u32; SLOTS_PER_BLOCK as usize],
}

/// Which client of which Service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AffinityKey<F: Family> {
    /// Cookie of the client's network namespace (socket hooks, which know no source address), or 0.
    pub netns_cookie: u64,
    /// The client's address (packet hooks), or 0.
    pub client: F::Addr,
    /// [`Service::id`]; with [`LOCAL_BOND`] at front ends with [`service_flags::LOCAL`].
    pub service: u32,
    /// Zero; fills IPv6 keys up to 8 bytes.
    pub pad: F::Pad4,
}

/// In [`AffinityKey::service`]: a bond made where only backends of this node may serve. The Service's
/// other front ends choose among others, so their bonds say nothing here.
pub const LOCAL_BOND: u32 = 1 << 31;

/// The backend a client is bound to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AffinityValue {
    /// When the client was last seen, in ticks.
    pub seen_ticks: u64,
    /// Its backend.
    pub backend: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<ServiceKey<V4>>() == 8);
    assert!(size_of::<ServiceKey<V6>>() == 20);
    assert!(size_of::<Service>() == 24);
    assert!(size_of::<SlotBlock>() == 64);
    assert!(SLOTS_PER_CHUNK.is_multiple_of(SLOTS_PER_BLOCK));
    assert!(size_of::<AffinityKey<V4>>() == 16);
    assert!(size_of::<AffinityKey<V6>>() == 32);
    assert!(size_of::<AffinityValue>() == 16);
    assert!(size_of::<RangeKey<V4>>() == 12);
    assert!(size_of::<RangeKey<V6>>() == 24);
};
