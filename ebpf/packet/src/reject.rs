//! Answers built in the place of the packet they answer: a TCP reset (RFC 9293, 3.10.7.1) or an ICMP
//! port unreachable (RFC 792, RFC 4443), so that a client learns at once that nobody serves it.

use skep_abi::proto;

use crate::{
    Headers, Kind, Packet, Wire,
    checksum::{fold, sum_words},
    headers::{ETHERNET, tcp_flags},
    rewrite::MAX_L4,
};

/// Bytes of a TCP header without options.
const TCP: usize = 20;
/// Bytes of an ICMP header.
const ICMP: usize = 8;
/// Time to live of packets that the datapath makes itself.
const TTL: u8 = 64;

/// Turns the packet into its rejection, addressed to its sender, Ethernet header included. Nothing
/// when it must not be answered (a reset, an ICMP message, a fragment that is not the first) or cannot be
/// (an ICMP message would have to quote all of its longer network header).
#[inline(always)]
pub fn reject<F: Wire>(packet: &mut impl Packet, headers: &Headers<F>) -> Option<()> {
    match headers.kind {
        Kind::Tcp if headers.tcp_flags & tcp_flags::RST == 0 => reset(packet, headers)?,
        Kind::Udp | Kind::Sctp | Kind::Other if !headers.has_options() => {
            unreachable::<F>(packet, headers)?;
        }
        _ => return None,
    }
    turn_ethernet(packet)
}

/// Turns the packet into the message that tells its sender to send packets of at most `mtu` bytes (RFC
/// 1191, RFC 4443 section 3.2), Ethernet header included. Nothing as for [`reject`].
#[inline(always)]
pub fn tell_mtu<F: Wire>(packet: &mut impl Packet, headers: &Headers<F>, mtu: u16) -> Option<()> {
    if headers.has_options() || headers.kind == Kind::IcmpError {
        return None;
    }
    let rest = [0, mtu.to_be()];
    if F::VERSION == 4 {
        message::<F, 7>(packet, headers, [3, 4], rest)?;
    } else {
        message::<F, 12>(packet, headers, [2, 0], rest)?;
    }
    turn_ethernet(packet)
}

/// Turns the packet into the message that its time to live ended here (RFC 792, RFC 4443 section 3.3),
/// Ethernet header included. Nothing as for [`reject`], and for what is no first fragment.
#[inline(always)]
pub fn tell_expired<F: Wire>(packet: &mut impl Packet, headers: &Headers<F>) -> Option<()> {
    let is_answered =
        !matches!(headers.kind, Kind::IcmpError | Kind::Fragment | Kind::Continuation);
    if headers.has_options() || !is_answered {
        return None;
    }
    if F::VERSION == 4 {
        message::<F, 7>(packet, headers, [11, 0], [0, 0])?;
    } else {
        message::<F, 12>(packet, headers, [3, 0], [0, 0])?;
    }
    turn_ethernet(packet)
}

fn turn_ethernet(packet: &mut impl Packet) -> Option<()> {
    let dst: [u16; 3] = packet.load(0)?;
    let src: [u16; 3] = packet.load(6)?;
    packet.store(0, src)?;
    packet.store(6, dst)
}

/// A TCP reset: it acknowledges what came when the packet had no acknowledgment of its own.
#[inline(always)]
fn reset<F: Wire>(packet: &mut impl Packet, headers: &Headers<F>) -> Option<()> {
    let came = headers.l4;
    if came > MAX_L4 {
        return None;
    }
    let [seq_be, ack_be]: [u32; 2] = packet.load(came + 4)?;
    let data_offset: u8 = packet.load(came + 12)?;
    let total: u16 =
        if F::VERSION == 4 { packet.load(ETHERNET + 2)? } else { packet.load(ETHERNET + 4)? };
    // The IPv6 field does not count the network header, the IPv4 one does.
    let uncounted = ETHERNET + if F::VERSION == 4 { 0 } else { F::HEADER };
    let before_data = (data_offset >> 4) as u32 * 4 + (came - uncounted) as u32;
    let data = (u16::from_be(total) as u32).wrapping_sub(before_data);
    let one = u8::from(headers.tcp_flags & tcp_flags::SYN != 0)
        + u8::from(headers.tcp_flags & tcp_flags::FIN != 0);
    let (seq, ack, flags) = if headers.tcp_flags & tcp_flags::ACK != 0 {
        (ack_be, 0, tcp_flags::RST)
    } else {
        let next = u32::from_be(seq_be).wrapping_add(data).wrapping_add(one as u32);
        (0, next.to_be(), tcp_flags::RST | tcp_flags::ACK)
    };
    let l4 = ETHERNET + F::HEADER;
    packet.resize((l4 + TCP) as u32)?;
    let offset_and_flags = u16::from_ne_bytes([(TCP as u8 / 4) << 4, flags]);
    let ports = u32::from(headers.dport_be) | u32::from(headers.sport_be) << 16;
    let ports = if cfg!(target_endian = "little") { ports } else { ports.rotate_left(16) };
    let words = [ports, seq, ack];
    let sum = pseudo_header(headers, proto::TCP, TCP as u16)
        + sum_words(&words)
        + offset_and_flags as u64;
    packet.store(l4, words)?;
    packet.store(l4 + 12, [offset_and_flags, 0, !fold(sum), 0])?;
    network_header(packet, headers, proto::TCP, TCP as u16)
}

/// An ICMP port unreachable that quotes the network header and 8 bytes.
#[inline(always)]
fn unreachable<F: Wire>(packet: &mut impl Packet, headers: &Headers<F>) -> Option<()> {
    if F::VERSION == 4 {
        // Type 3, code 3.
        message::<F, 7>(packet, headers, [3, 3], [0, 0])
    } else {
        // Type 1, code 4.
        message::<F, 12>(packet, headers, [1, 4], [0, 0])
    }
}

/// An ICMP message of this type and code that quotes the first words of the packet; `rest` is the second
/// word of its header.
#[inline(always)]
fn message<F: Wire, const WORDS: usize>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    kind: [u8; 2],
    rest: [u16; 2],
) -> Option<()> {
    let l4 = ETHERNET + F::HEADER;
    let quoted: [u32; WORDS] = packet.load(ETHERNET)?;
    let bytes = (ICMP + WORDS * 4) as u16;
    packet.resize((l4 + bytes as usize) as u32)?;
    let kind = u16::from_ne_bytes(kind);
    let mut sum = sum_words(&quoted) + kind as u64 + rest[0] as u64 + rest[1] as u64;
    if F::VERSION == 6 {
        sum += pseudo_header(headers, proto::ICMPV6, bytes);
    }
    packet.store(l4, [kind, !fold(sum), rest[0], rest[1]])?;
    packet.store(l4 + ICMP, quoted)?;
    network_header(packet, headers, F::ICMP, bytes)
}

/// The sum over the pseudo header; the same both ways.
#[inline(always)]
fn pseudo_header<F: Wire>(headers: &Headers<F>, proto: u8, bytes: u16) -> u64 {
    sum_words(headers.src.as_ref())
        + sum_words(headers.dst.as_ref())
        + u16::from_ne_bytes([0, proto]) as u64
        + bytes.to_be() as u64
}

/// A network header without options, back to the sender.
#[inline(always)]
fn network_header<F: Wire>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    proto: u8,
    payload: u16,
) -> Option<()> {
    if F::VERSION == 4 {
        let words = [
            u16::from_ne_bytes([0x45, 0]),
            (F::HEADER as u16 + payload).to_be(),
            0,
            // Do not fragment.
            0x4000_u16.to_be(),
            u16::from_ne_bytes([TTL, proto]),
        ];
        let mut sum = sum_words(headers.src.as_ref()) + sum_words(headers.dst.as_ref());
        for word in words {
            sum += word as u64;
        }
        packet.store(ETHERNET, words)?;
        packet.store(ETHERNET + 10, !fold(sum))?;
    } else {
        packet.store(ETHERNET, [0x60, 0, 0, 0u8])?;
        packet.store(ETHERNET + 4, payload.to_be())?;
        packet.store(ETHERNET + 6, [proto, TTL])?;
    }
    packet.store(F::SRC, headers.dst)?;
    packet.store(F::DST, headers.src)
}
