//! IPv6 extension headers (RFC 8200, section 4): following the chain to the transport header, and the
//! fragment header in it.
//!
//! What translation must not touch ends the chain: a routing header that has not done its work, whose
//! destination is not the last one, and an authentication header, which signs the addresses.

use crate::{Packet, Wire, headers::ETHERNET};
use skep_abi::V6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Headers that are followed.
const HEADERS: usize = 5;
/// Bytes of headers that are followed: longer chains have no transport header.
pub(crate) const BYTES: usize = 128;
/// As far as a chain is followed behind the start of its packet's network header.
const REACH: usize = V6::HEADER + BYTES;
/// Offsets that packets in packets begin at, at most.
const MAX_START: usize = ETHERNET + REACH + 8;
/// Offsets that a chain ends at, at most.
const MAX_END: usize = MAX_START + REACH;

/// Where a chain ends. One word: a function of its own hands it back in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain(u64);

const PROTO: u32 = 16;
const IS_LATER: u64 = 1 << 24;
const FRAGMENT_AT: u32 = 32;

impl Chain {
    /// The protocol of what follows.
    #[inline(always)]
    pub(crate) const fn proto(self) -> u8 {
        (self.0 >> PROTO) as u8
    }

    /// Offset of what follows.
    #[inline(always)]
    pub(crate) const fn end(self) -> usize {
        self.0 as usize & 0x1ff
    }

    /// Whether the packet is a piece that is not the first.
    #[inline(always)]
    pub(crate) const fn is_later_fragment(self) -> bool {
        self.0 & IS_LATER != 0
    }

    /// The identification of the packet's pieces; nothing when it is whole.
    #[inline(always)]
    pub(crate) fn fragment_id(self, packet: &impl Packet) -> Option<u32> {
        let at = (self.0 >> FRAGMENT_AT) as usize & 0x1ff;
        if at == 0 { None } else { packet.load(at + 4) }
    }
}

/// Whether a protocol number is that of a header to be followed.
#[inline(always)]
pub(crate) const fn is_one(proto: u8) -> bool {
    matches!(proto, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
}

/// Follows the chain of the packet whose network header is at `start`; nothing when it is cut short.
#[inline(always)]
pub(crate) fn follow(packet: &impl Packet, start: usize) -> Option<Chain> {
    match packet.chain_of_extensions(start) {
        0 => None,
        word => Some(Chain(word)),
    }
}

/// [`follow`] as a word; 0 for nothing.
#[inline(always)]
pub fn chain(packet: &impl Packet, start: usize) -> u64 {
    word(packet, start).unwrap_or(0)
}

#[inline(always)]
fn word(packet: &impl Packet, start: usize) -> Option<u64> {
    if start > MAX_START {
        return None;
    }
    packet.reach(start + REACH + TRANSPORT);
    let mut proto: u8 = packet.load(start + 6)?;
    let (mut at, mut fragment) = (start + V6::HEADER, 0);
    for _ in 0..HEADERS {
        if !is_one(proto) {
            break;
        }
        // The last two: of a fragment header its offset, of a routing header type and segments left.
        let [next, units, third, fourth]: [u8; 4] = packet.load(at)?;
        if proto == ROUTING && fourth != 0 {
            break;
        }
        let was_fragment = proto == FRAGMENT;
        proto = next;
        if was_fragment {
            // Its second byte is reserved. A packet that is the only piece of itself is whole (RFC 6946).
            let offset = u16::from_ne_bytes([third, fourth]);
            if offset & OFFSET_AND_MORE != 0 {
                fragment = (at as u64) << FRAGMENT_AT;
            }
            at += 8;
            if offset & OFFSET != 0 {
                fragment |= IS_LATER;
                break;
            }
        } else {
            at += (units as usize + 1) * 8;
        }
        if at > MAX_END {
            return None;
        }
    }
    Some(fragment | u64::from(proto) << PROTO | at as u64)
}

/// Bytes of a transport header that the datapath reads.
const TRANSPORT: usize = 20;
/// The offset, as it lies on the wire.
const OFFSET: u16 = 0xfff8_u16.to_be();
/// The offset and the bit that says that this is not the last piece.
const OFFSET_AND_MORE: u16 = 0xfff9_u16.to_be();
