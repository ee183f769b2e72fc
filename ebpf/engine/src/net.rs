//! What the engine asks of an address family beyond where its fields lie.

use skep_abi::{Config, Family, FamilyConfig, Peer, V4, V6};
use skep_packet::Wire;

/// An address family of the datapath.
pub trait Net: Wire {
    /// The family's part of the configuration.
    fn config(config: &Config) -> &FamilyConfig<Self>;
    /// The peer's address between the nodes.
    fn of_peer(peer: &Peer) -> &Self::Addr;
    /// Whether packets to this address never leave the link: multicast, broadcast, link-local.
    fn is_link_scope(addr: &Self::Addr) -> bool;
}

impl Net for V4 {
    #[inline(always)]
    fn config(config: &Config) -> &FamilyConfig<Self> {
        &config.v4
    }

    #[inline(always)]
    fn of_peer(peer: &Peer) -> &[u32; 1] {
        &peer.addr4
    }

    #[inline(always)]
    fn is_link_scope(addr: &[u32; 1]) -> bool {
        let addr = u32::from_be(addr[0]);
        // 224.0.0.0/3: multicast, reserved, broadcast; 169.254.0.0/16.
        addr >> 29 == 0b111 || addr >> 16 == 0xa9fe
    }
}

impl Net for V6 {
    #[inline(always)]
    fn config(config: &Config) -> &FamilyConfig<Self> {
        &config.v6
    }

    #[inline(always)]
    fn of_peer(peer: &Peer) -> &[u32; 4] {
        &peer.addr6
    }

    #[inline(always)]
    fn is_link_scope(addr: &[u32; 4]) -> bool {
        let head = u32::from_be(addr[0]) >> 16;
        // ff00::/8, fe80::/10.
        head >> 8 == 0xff || head & 0xffc0 == 0xfe80
    }
}

/// Whether `addr` lies in a prefix; an all-zero mask is no prefix.
#[inline(always)]
pub(crate) fn is_in<F: Family>(addr: &F::Addr, prefix: &F::Addr, mask: &F::Addr) -> bool {
    let (addr, prefix, mask) = (addr.as_ref(), prefix.as_ref(), mask.as_ref());
    if F::WORDS == 1 {
        return mask[0] != 0 && addr[0] & mask[0] == prefix[0];
    }
    mask[0] != 0
        && addr[0] & mask[0] == prefix[0]
        && addr[1] & mask[1] == prefix[1]
        && addr[2] & mask[2] == prefix[2]
        && addr[3] & mask[3] == prefix[3]
}

/// Whether a port as on the wire lies in a range.
#[inline(always)]
pub(crate) fn is_port_in(port_be: u16, range: skep_abi::PortRange) -> bool {
    let port = u16::from_be(port_be);
    range.min <= port && port <= range.max
}
