//! Tables `flows4`/`flows6` (hash, nothing evicts), `embryos4`/`embryos6` (LRU: connections that are
//! not yet answered) and `snat4`/`snat6` (hash: replies to translated sources). Key and value are the same in all.

use crate::Family;

/// A packet's tuple as it arrives, before any translation. ICMP echo has its identifier as source port
/// (request) or destination port (reply) and 0 as the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Source port.
    pub sport_be: u16,
    /// Destination port.
    pub dport_be: u16,
    /// A number of [`crate::proto`].
    pub proto: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub pad16: u16,
}

/// What becomes of packets with that tuple. The other direction has an entry of its own; its key is
/// this entry's translated tuple, turned around.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow<F: Family> {
    /// Packets seen.
    pub packets: u64,
    /// When the last packet was seen, in ticks. It stands between the two others because two zeroes in
    /// a row would be written by a byte loop.
    pub seen_ticks: u64,
    /// The packets' bytes, link header included.
    pub bytes: u64,
    /// Source address after translation.
    pub src: F::Addr,
    /// Destination address after translation.
    pub dst: F::Addr,
    /// Source port after translation.
    pub sport_be: u16,
    /// Destination port after translation.
    pub dport_be: u16,
    /// The backend packets of this entry go to ([`crate::NO_BACKEND`]: none; replies, masquerade).
    pub backend: u32,
    /// [`crate::Service::id`], or 0.
    pub service: u32,
    /// Device by which the connection came in, for packets that go back there; 0: a pod's or the host's.
    pub ifindex: u32,
    /// Bits of [`flow_flags`].
    pub flags: u32,
    /// Bits of [`flow_state`], of this direction.
    pub state: u32,
}

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// The source is translated.
    pub const SRC: u32 = 1 << 0;
    /// The destination is translated.
    pub const DST: u32 = 1 << 1;
    /// The entry is of the reply direction.
    pub const REPLY: u32 = 1 << 2;
    /// The partner is in `snat`, not in `flows` (entries of the first direction).
    pub const SNAT: u32 = 1 << 3;
    /// Packets go to the backend's node as they are, in an outer header; there is no partner, as replies
    /// do not come here.
    pub const TUNNEL: u32 = 1 << 4;
}

/// Bits of [`Flow::state`].
pub mod flow_state {
    /// The partner entry has seen a packet: the connection is answered.
    pub const ANSWERED: u32 = 1 << 0;
    /// A FIN was seen in this direction.
    pub const FIN: u32 = 1 << 1;
    /// A RST was seen in this direction.
    pub const RST: u32 = 1 << 2;

    /// What the states of both directions make of a connection: closed by FINs from both or a RST of one;
    /// 0: open.
    #[inline(always)]
    pub const fn closed(one: u32, other: u32) -> u32 {
        (one & other & FIN) | ((one | other) & RST)
    }
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<FlowKey<V4>>() == 16);
    assert!(size_of::<FlowKey<V6>>() == 40);
    assert!(size_of::<Flow<V4>>() == 56);
    assert!(size_of::<Flow<V6>>() == 80);
};
