//! Address and port translation of a packet, checksums mended by difference.

use skep_abi::{Family, proto};

use crate::{Headers, Kind, Packet, Wire, checksum::Difference, extension, headers::ETHERNET};

/// Addresses and ports: what a packet is given.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Source port or identifier.
    pub sport_be: u16,
    /// Destination port or identifier.
    pub dport_be: u16,
}

/// Gives the packet the tuple `to` and mends its checksums; nothing when the packet is too short, and
/// then it is as it was.
#[inline(always)]
pub fn rewrite<F: Wire>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    to: &Tuple<F>,
) -> Option<()> {
    let Headers { l4, kind, .. } = *headers;
    if kind == Kind::Continuation {
        return rewrite_addresses(packet, to).map(drop);
    }
    // So far headers go at most; the verifier has to be told.
    if l4 > MAX_L4 {
        return None;
    }
    let checksum = match kind {
        Kind::Tcp => l4 + 16,
        Kind::Udp => l4 + 6,
        // Of four bytes: its second half is the last.
        Kind::Sctp => l4 + 10,
        Kind::EchoRequest | Kind::EchoReply => l4 + 2,
        _ => return None,
    };
    // The last that is written; ports and addresses lie before it or not far behind.
    packet.load::<u16>(checksum)?;
    packet.load::<u16>(l4 + 4)?;
    let addresses = rewrite_addresses(packet, to)?;
    let own =
        Difference::NONE.u16(headers.sport_be, to.sport_be).u16(headers.dport_be, to.dport_be);
    match kind {
        Kind::EchoRequest => packet.store(l4 + 4, to.sport_be)?,
        Kind::EchoReply => packet.store(l4 + 4, to.dport_be)?,
        _ => packet.store(l4, [to.sport_be, to.dport_be])?,
    }
    if kind == Kind::Sctp {
        return packet.mend_crc(
            l4,
            difference_of_ports(headers, to),
            segment_len::<F>(packet, l4)?,
        );
    }
    // ICMP for IPv4 has no pseudo header.
    let pseudo = if headers.proto == proto::ICMP { Difference::NONE } else { addresses };
    packet.mend_checksum(checksum, pseudo, own, kind == Kind::Udp)?;
    Some(())
}

/// Gives the network header its addresses and mends its checksum; what that changes.
#[inline(always)]
fn rewrite_addresses<F: Wire>(packet: &mut impl Packet, to: &Tuple<F>) -> Option<Difference> {
    let addresses = packet.replace(F::SRC, to.src.as_ref())?;
    let addresses = addresses.and(packet.replace(F::DST, to.dst.as_ref())?);
    if F::VERSION == 4 {
        let checksum: u16 = packet.load(ETHERNET + 10)?;
        packet.store(ETHERNET + 10, addresses.apply(checksum))?;
    }
    Some(addresses)
}

/// Old and new ports, exclusively or'd, as they lie on the wire.
#[inline(always)]
fn difference_of_ports<F: Family>(headers: &Headers<F>, to: &Tuple<F>) -> [u8; 4] {
    let sport = (headers.sport_be ^ to.sport_be).to_ne_bytes();
    let dport = (headers.dport_be ^ to.dport_be).to_ne_bytes();
    [sport[0], sport[1], dport[0], dport[1]]
}

/// Bytes from the transport header at `l4` to the end that the network header tells.
#[inline(always)]
fn segment_len<F: Wire>(packet: &impl Packet, l4: usize) -> Option<u16> {
    let (field, before) =
        if F::VERSION == 4 { (2, l4 - ETHERNET) } else { (4, l4 - ETHERNET - F::HEADER) };
    let len: u16 = packet.load(ETHERNET + field)?;
    Some(u16::from_be(len).wrapping_sub(before as u16))
}

/// Offset of the transport header behind the longest network header.
pub const MAX_L4: usize = ETHERNET + 40 + extension::BYTES;

/// Counts one hop. The caller leaves packets with a time to live of 1 or less to the stack, which
/// answers them.
#[inline(always)]
pub fn decrement_ttl<F: Wire>(packet: &mut impl Packet) -> Option<()> {
    if F::VERSION == 4 {
        // The word of the checksum that holds the time to live: it and the protocol.
        let old: [u8; 2] = packet.load(F::TTL)?;
        let new = [old[0].wrapping_sub(1), old[1]];
        let checksum: u16 = packet.load(ETHERNET + 10)?;
        let difference = Difference::NONE.u16(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        packet.store(ETHERNET + 10, difference.apply(checksum))?;
        packet.store(F::TTL, new)
    } else {
        let old: u8 = packet.load(F::TTL)?;
        packet.store(F::TTL, old.wrapping_sub(1))
    }
}

/// Addresses the frame, which came to the hardware address that it has as its destination, from there
/// to the next hop.
#[inline(always)]
pub fn forward_ethernet(packet: &mut impl Packet, next_hop: [u8; 6]) -> Option<()> {
    let own: [u16; 3] = packet.load(0)?;
    packet.store(6, own)?;
    packet.store(0, next_hop)
}
