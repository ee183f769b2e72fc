//! Address and port translation of a packet, checksums mended by difference.

use skep_abi::{Family, proto};

use crate::{Headers, Kind, Packet, Wire, checksum::Difference, headers::ETHERNET};

/// The tuple a packet is given; a part that stays is the packet's own.
///
/// Addresses are borrowed from where they lie, mostly in a table, to spare the 512 bytes of stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite<'a, F: Family> {
    /// Source address.
    pub src: &'a F::Addr,
    /// Destination address.
    pub dst: &'a F::Addr,
    /// Source port or identifier.
    pub sport_be: u16,
    /// Destination port or identifier.
    pub dport_be: u16,
}

/// Gives the packet the tuple `to` and mends its checksums; nothing when the packet is too short.
/// `headers` are those it had.
#[inline(always)]
pub fn rewrite<F: Wire>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
) -> Option<()> {
    let addresses = Difference::NONE;
    let addresses = replace(packet, F::SRC, to.src.as_ref(), addresses)?;
    let addresses = replace(packet, F::DST, to.dst.as_ref(), addresses)?;
    if F::VERSION == 4 {
        let checksum: u16 = packet.load(ETHERNET + 10)?;
        packet.store(ETHERNET + 10, addresses.apply(checksum))?;
    }
    let own =
        Difference::NONE.u16(headers.sport_be, to.sport_be).u16(headers.dport_be, to.dport_be);
    match headers.kind {
        Kind::Tcp | Kind::Udp => packet.store(headers.l4, [to.sport_be, to.dport_be])?,
        Kind::EchoRequest => packet.store(headers.l4 + 4, to.sport_be)?,
        Kind::EchoReply => packet.store(headers.l4 + 4, to.dport_be)?,
        Kind::IcmpError | Kind::Fragment | Kind::Other => return None,
    }
    // ICMP for IPv4 has no pseudo header.
    let pseudo = if headers.proto == proto::ICMP { Difference::NONE } else { addresses };
    packet.mend_checksum(headers.checksum(), pseudo, own, headers.kind == Kind::Udp)?;
    Some(())
}

/// Puts `new` at `offset` and adds what that changes to `difference`.
///
/// Word by word, and the old words from the packet: of a copy from one memory to another the compiler
/// makes a byte loop, and old words from elsewhere it would keep all on the stack.
#[inline(always)]
fn replace(
    packet: &mut impl Packet,
    offset: usize,
    new: &[u32],
    mut difference: Difference,
) -> Option<Difference> {
    for (number, new) in new.iter().enumerate() {
        let old: u32 = packet.load(offset + number * 4)?;
        packet.store(offset + number * 4, *new)?;
        difference = difference.u32(old, *new);
    }
    Some(difference)
}

/// Counts one hop. The caller leaves packets with a time to live of 1 or less to the stack, which
/// answers them.
#[inline(always)]
pub fn decrement_ttl<F: Wire>(packet: &mut impl Packet, headers: &Headers<F>) -> Option<()> {
    packet.store(F::TTL, headers.ttl.wrapping_sub(1))?;
    if F::VERSION == 4 {
        // The word of the checksum that holds the time to live: it and the protocol.
        let old = u16::from_ne_bytes([headers.ttl, headers.proto]);
        let new = u16::from_ne_bytes([headers.ttl.wrapping_sub(1), headers.proto]);
        let checksum: u16 = packet.load(ETHERNET + 10)?;
        packet.store(ETHERNET + 10, Difference::NONE.u16(old, new).apply(checksum))?;
    }
    Some(())
}

/// Addresses the frame, which came to the hardware address that it has as its destination, from there
/// to the next hop.
#[inline(always)]
pub fn forward_ethernet(packet: &mut impl Packet, next_hop: [u8; 6]) -> Option<()> {
    let own: [u16; 3] = packet.load(0)?;
    packet.store(6, own)?;
    packet.store(0, next_hop)
}
