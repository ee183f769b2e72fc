//! Tables `nodes4`/`nodes6` (longest prefix), `peers` and `next_hops` (arrays): which node an address
//! belongs to and how packets get there.

use crate::Family;

/// In [`Node::peer`]: no other node; such a prefix is reached through this node's stack, untranslated.
pub const NO_PEER: u32 = 0;

/// A prefix: the pod range of another node, or one of its own addresses (as /32 or /128).
///
/// Every other node's own addresses must be there: packets from pods to an address that is in neither
/// `endpoints` nor `nodes` are masqueraded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeKey<F: Family> {
    /// Leading bits of `addr` that count.
    pub prefix_len: u32,
    /// The prefix; bits behind `prefix_len` are zero.
    pub addr: F::Addr,
}

/// Where a prefix is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Index in `peers`, or [`NO_PEER`]: not a node's, but not masqueraded either.
    pub peer: u32,
    /// 1 when the prefix is an address of the node itself, 0 when it is a range of pods.
    pub is_host: u32,
}

/// Another node and the way to it. Index 0 is never used.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its IPv4 address between the nodes (zero: none).
    pub addr4: [u32; 1],
    /// Its IPv6 address between the nodes (zero: none).
    pub addr6: [u32; 4],
    /// Device that leads to it ([`peer_mode::DIRECT`]).
    pub ifindex: u32,
    /// A number of [`peer_mode`].
    pub mode: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// In `next_hops`, at [`next_hop_index`]: how packets leave a device for another node, as the kernel's
/// routes and neighbours had it a moment ago. XDP programs write it when they have asked, and ask
/// again after a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// The device; 0: not known.
    pub ifindex: u32,
    /// When the kernel was asked: the lower half of the clock, in ticks.
    pub asked_ticks: u32,
    /// Hardware address of the next hop, then the device's own: how a frame begins.
    pub macs: [u32; 3],
}

/// Index in `next_hops` for a peer's address of the family.
#[inline(always)]
pub const fn next_hop_index<F: Family>(peer: u32) -> u32 {
    peer * 2 + (F::VERSION == 6) as u32
}

/// Numbers of [`Peer::mode`].
pub mod peer_mode {
    /// Unused index: packets are dropped and counted.
    pub const NONE: u8 = 0;
    /// On the same link: the next hop is the peer's own address.
    pub const DIRECT: u8 = 1;
    /// Through VXLAN; the outer header is IPv4 when `addr4` is set, else IPv6.
    pub const VXLAN: u8 = 2;
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<NodeKey<V4>>() == 8);
    assert!(size_of::<NodeKey<V6>>() == 20);
    assert!(size_of::<Node>() == 8);
    assert!(size_of::<Peer>() == 28);
    assert!(size_of::<NextHop>() == 20);
};
