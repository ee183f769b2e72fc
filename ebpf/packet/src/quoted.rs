//! ICMP errors: each quotes the packet that it is about as that looked where the error arose, translated
//! as it was. Both the quote and the error's own addresses are given back what the packet's sender knows,
//! so that path MTU discovery works through a translation (RFC 5508).

use skep_abi::proto;

use crate::{Headers, Kind, Packet, Tuple, Wire, checksum::Difference, headers::ETHERNET};

/// Bytes of an ICMP header.
const ICMP: usize = 8;
/// Bytes of a quote that are read: a network header as long as they get, and ports.
const QUOTE: usize = 40 + crate::extension::BYTES + 8;
/// Offset of a quoted transport header behind the longest headers.
const MAX_L4: usize = ETHERNET + 2 * QUOTE;
/// All offsets that quotes begin at.
const OFFSETS: usize = 0x1ff;

/// The facts of the packet that would answer the one that the ICMP error with these headers quotes: the
/// flow of that answer knows both sides of the translation. `l4` is where the quoted transport header is.
/// Nothing when the quote is cut short or of something without ports.
#[inline(always)]
pub fn answer_to_quoted<F: Wire>(packet: &impl Packet, headers: &Headers<F>) -> Option<Headers<F>> {
    // As is true of all headers: not before the packet, and not far behind its start. Verifiers understand a
    // mask, and not all of them a comparison with both ends.
    let of_start = (headers.l4 + ICMP - ETHERNET) & OFFSETS;
    let start = of_start + ETHERNET;
    if start > MAX_L4 {
        return None;
    }
    packet.reach(start + QUOTE);
    let network = F::network(packet, start)?;
    let l4 = network.l4;
    if network.is_later_fragment || l4 > MAX_L4 {
        return None;
    }
    let mut answer = Headers {
        src: packet.load(of_start + F::DST)?,
        dst: packet.load(of_start + F::SRC)?,
        sport_be: 0,
        dport_be: 0,
        proto: network.proto,
        tcp_flags: 0,
        ttl: network.ttl,
        kind: Kind::IcmpError,
        l4,
    };
    if matches!(network.proto, proto::TCP | proto::UDP | proto::SCTP) {
        let [sport, dport]: [u16; 2] = packet.load(l4)?;
        (answer.sport_be, answer.dport_be) = (dport, sport);
    } else if network.proto == F::ICMP {
        let [kind, _]: [u8; 2] = packet.load(l4)?;
        let id: u16 = packet.load(l4 + 4)?;
        if kind == F::ECHO_REQUEST {
            answer.dport_be = id;
        } else if kind == F::ECHO_REPLY {
            answer.sport_be = id;
        } else {
            return None;
        }
    } else {
        return None;
    }
    Some(answer)
}

/// Gives an ICMP error the addresses of `to`, which the answer to the quoted packet would be given, and
/// turns them around in the quote. `answer` is what [`answer_to_quoted`] said. The checksum of a quoted
/// TCP or SCTP segment, which few quotes reach, stays. Nothing when the packet is too short, and then it
/// is as it was.
#[inline(always)]
pub fn rewrite_quoted<F: Wire>(
    packet: &mut impl Packet,
    answer: &Headers<F>,
    to: &Tuple<F>,
) -> Option<()> {
    let own = F::network(packet, ETHERNET)?.l4;
    let (start, l4) = (own + ICMP, answer.l4);
    if start > MAX_L4 || l4 > MAX_L4 {
        return None;
    }
    // Addresses apart, the last that is written.
    packet.load::<u16>(l4 + 6)?;
    let of_start = start - ETHERNET;
    let addresses = packet.replace(of_start + F::SRC, to.dst.as_ref())?;
    let addresses = addresses.and(packet.replace(of_start + F::DST, to.src.as_ref())?);
    let mut quote = addresses;
    if F::VERSION == 4 {
        let old: u16 = packet.load(start + 10)?;
        let new = addresses.apply(old);
        packet.store(start + 10, new)?;
        quote = quote.u16(old, new);
    }
    quote = quote.and(rewrite_transport::<F>(packet, answer, to, addresses)?);
    let mut outer = packet.replace(F::DST, to.dst.as_ref())?;
    // Whoever met the packet on its way speaks for the one it was sent to, if that has another name
    // where the error goes; as Linux' connection tracking has it.
    if answer.src != to.src {
        outer = outer.and(packet.replace(F::SRC, to.src.as_ref())?);
    }
    if F::VERSION == 4 {
        let checksum: u16 = packet.load(ETHERNET + 10)?;
        packet.store(ETHERNET + 10, outer.apply(checksum))?;
        outer = Difference::NONE;
    }
    packet.mend_checksum(own + 2, outer, quote, false)
}

/// Gives the quoted transport header its ports or identifier back, and mends its checksum if that is
/// always quoted. What that changes.
#[inline(always)]
fn rewrite_transport<F: Wire>(
    packet: &mut impl Packet,
    answer: &Headers<F>,
    to: &Tuple<F>,
    addresses: Difference,
) -> Option<Difference> {
    let l4 = answer.l4;
    let (ports, checksum) = if answer.proto == F::ICMP {
        let kind: u8 = packet.load(l4)?;
        let old: u16 = packet.load(l4 + 4)?;
        let new = if kind == F::ECHO_REQUEST { to.dport_be } else { to.sport_be };
        packet.store(l4 + 4, new)?;
        (Difference::NONE.u16(old, new), l4 + 2)
    } else {
        let old: [u16; 2] = packet.load(l4)?;
        packet.store(l4, [to.dport_be, to.sport_be])?;
        (Difference::NONE.u16(old[0], to.dport_be).u16(old[1], to.sport_be), l4 + 6)
    };
    if matches!(answer.proto, proto::TCP | proto::SCTP) {
        return Some(ports);
    }
    let old: u16 = packet.load(checksum)?;
    if answer.proto == proto::UDP && old == 0 {
        return Some(ports);
    }
    // ICMP for IPv4 has no pseudo header.
    let pseudo = if answer.proto == proto::ICMP { Difference::NONE } else { addresses };
    let new = match pseudo.and(ports).apply(old) {
        0 if answer.proto == proto::UDP => u16::MAX,
        new => new,
    };
    packet.store(checksum, new)?;
    Some(ports.u16(old, new))
}
