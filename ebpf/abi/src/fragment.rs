//! Tables `fragments4`/`fragments6` (LRU): the ports of packets that come in pieces, of which only the
//! first piece has them.

use crate::Family;

/// What the pieces of one packet have in common.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// The identification, as it lies on the wire; of IPv4 in the first two bytes.
    pub id: u32,
    /// The protocol number (IPv4); 0 (IPv6, whose identifications are unique without it).
    pub proto: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub pad16: u16,
}

/// What the first piece told.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentPorts {
    /// When it was seen, in ticks.
    pub seen_ticks: u64,
    /// Source port, or identifier.
    pub sport_be: u16,
    /// Destination port, or identifier.
    pub dport_be: u16,
    /// The protocol number of what is in the pieces.
    pub proto: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub pad16: u16,
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<FragmentKey<V4>>() == 16);
    assert!(size_of::<FragmentKey<V6>>() == 40);
    assert!(size_of::<FragmentPorts>() == 16);
};
