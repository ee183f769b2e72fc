//! Parsing: from bytes to the few facts the datapath decides by.

use skep_abi::{Family, V4, V6, proto};

use crate::{Field, Packet, extension};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Bits of IPv4's flags and offset that are the offset, as they lie on the wire.
const FRAGMENT_OFFSET: u16 = 0x1fff_u16.to_be();
/// The bit there that says that this is not the last piece.
const MORE_FRAGMENTS: u16 = 0x2000_u16.to_be();

/// Values of the Ethernet type field, as they lie on the wire.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800_u16.to_be();
    /// IPv6.
    pub const IPV6: u16 = 0x86dd_u16.to_be();
}

/// Bits of the TCP flags byte.
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1 << 0;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 1 << 1;
    /// Reset the connection.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgment field counts.
    pub const ACK: u8 = 1 << 4;
}

/// What follows the network header, as far as translation cares.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// TCP; [`Headers::tcp_flags`] is set.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP; in [`Headers::tcp_flags`] an INIT is a SYN, an ABORT a RST, the end of a shutdown a FIN.
    Sctp,
    /// ICMP echo request: the identifier is the source port.
    EchoRequest,
    /// ICMP echo reply: the identifier is the destination port.
    EchoReply,
    /// An ICMP error: it quotes the packet it is about.
    IcmpError,
    /// A fragment that is not the first: no ports.
    Fragment,
    /// A fragment that is not the first, with the ports that the first one told.
    Continuation,
    /// Anything else: routed, never translated.
    #[default]
    Other,
}

/// The facts of a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<F: Family> {
    /// Source address.
    pub src: F::Addr,
    /// Destination address.
    pub dst: F::Addr,
    /// Source port, or identifier, or 0.
    pub sport_be: u16,
    /// Destination port, or identifier, or 0.
    pub dport_be: u16,
    /// Protocol number.
    pub proto: u8,
    /// Bits of [`tcp_flags`] (TCP, SCTP), or 0.
    pub tcp_flags: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// What the packet carries.
    pub kind: Kind,
    /// Offset of the transport header.
    pub l4: usize,
}

/// Where a family's fields lie.
pub trait Wire: Family<Addr: Field> {
    /// Offset of the source address.
    const SRC: usize;
    /// Offset of the destination address.
    const DST: usize;
    /// Offset of the time to live.
    const TTL: usize;
    /// Bytes of a network header without options.
    const HEADER: usize;
    /// The protocol of its control messages.
    const ICMP: u8;
    /// The protocol number of a packet of this family inside another.
    const TUNNEL: u8;
    /// Type of an echo request.
    const ECHO_REQUEST: u8;
    /// Type of an echo reply.
    const ECHO_REPLY: u8;

    /// The address at `offset`, word by word: in the kernel the compiler makes a loop over bytes of what it
    /// moves in one go.
    fn address(packet: &impl Packet, offset: usize) -> Option<Self::Addr>;
    /// The network header at `start`.
    fn network(packet: &impl Packet, start: usize) -> Option<Network>;
    /// Which piece of a larger packet it is; nothing for whole ones.
    fn piece(packet: &impl Packet) -> Option<Piece>;
    /// Whether [`Wire::piece`] may have an answer for a packet with this transport header: at first sight.
    fn may_be_piece(packet: &impl Packet, l4: usize) -> bool;
    /// Whether an ICMP message of this type is an error.
    fn is_icmp_error(kind: u8) -> bool;
}

/// What the two network headers say in their own ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub(crate) proto: u8,
    pub(crate) ttl: u8,
    pub(crate) l4: usize,
    pub(crate) is_later_fragment: bool,
}

/// A piece of a packet, and what all its pieces have in common beside their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The identification, as it lies on the wire.
    pub id: u32,
    /// The protocol that tells pieces of one identification apart, or 0.
    pub proto: u8,
    /// Whether it is the first, which has the transport header.
    pub is_first: bool,
}

impl Wire for V4 {
    const SRC: usize = ETHERNET + 12;
    const DST: usize = ETHERNET + 16;
    const TTL: usize = ETHERNET + 8;
    const HEADER: usize = 20;
    const ICMP: u8 = proto::ICMP;
    const TUNNEL: u8 = 4;
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;

    #[inline(always)]
    fn address(packet: &impl Packet, offset: usize) -> Option<[u32; 1]> {
        packet.load(offset)
    }

    #[inline(always)]
    fn network(packet: &impl Packet, start: usize) -> Option<Network> {
        // In one go: the verifier does not connect what is looked at one by one where the start varies.
        let [first, _, _, fragment, last]: [u16; 5] = packet.load(start)?;
        let ([first, _], [ttl, proto]) = (first.to_ne_bytes(), last.to_ne_bytes());
        // 4 in the upper half, and at least five words in the lower.
        if !(0x45..0x50).contains(&first) {
            return None;
        }
        Some(Network {
            proto,
            ttl,
            l4: start + ((first & 0xf) as usize) * 4,
            is_later_fragment: fragment & FRAGMENT_OFFSET != 0,
        })
    }

    #[inline(always)]
    fn piece(packet: &impl Packet) -> Option<Piece> {
        let fragment: u16 = packet.load(ETHERNET + 6)?;
        if fragment & (FRAGMENT_OFFSET | MORE_FRAGMENTS) == 0 {
            return None;
        }
        let id: u16 = packet.load(ETHERNET + 4)?;
        Some(Piece {
            id: id.into(),
            proto: packet.load(ETHERNET + 9)?,
            is_first: fragment & FRAGMENT_OFFSET == 0,
        })
    }

    #[inline(always)]
    fn may_be_piece(packet: &impl Packet, _l4: usize) -> bool {
        let pieces = FRAGMENT_OFFSET | MORE_FRAGMENTS;
        packet.load::<u16>(ETHERNET + 6).is_some_and(|fragment| fragment & pieces != 0)
    }

    #[inline(always)]
    fn is_icmp_error(kind: u8) -> bool {
        matches!(kind, 3 | 11 | 12)
    }
}

impl Wire for V6 {
    const SRC: usize = ETHERNET + 8;
    const DST: usize = ETHERNET + 24;
    const TTL: usize = ETHERNET + 7;
    const HEADER: usize = 40;
    const ICMP: u8 = proto::ICMPV6;
    const TUNNEL: u8 = 41;
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;

    #[inline(always)]
    fn address(packet: &impl Packet, offset: usize) -> Option<[u32; 4]> {
        let word = |number: usize| packet.load::<u32>(offset + number * 4);
        Some([word(0)?, word(1)?, word(2)?, word(3)?])
    }

    #[inline(always)]
    fn network(packet: &impl Packet, start: usize) -> Option<Network> {
        let [first, _, _, last]: [u16; 4] = packet.load(start)?;
        let ([first, _], [proto, ttl]) = (first.to_ne_bytes(), last.to_ne_bytes());
        if first >> 4 != 6 {
            return None;
        }
        let mut network =
            Network { proto, ttl, l4: start + Self::HEADER, is_later_fragment: false };
        if extension::is_one(network.proto) {
            let chain = extension::follow(packet, start)?;
            network.proto = chain.proto();
            network.l4 = chain.end();
            network.is_later_fragment = chain.is_later_fragment();
        }
        Some(network)
    }

    #[inline(always)]
    fn piece(packet: &impl Packet) -> Option<Piece> {
        let chain = extension::follow(packet, ETHERNET)?;
        let id = chain.fragment_id(packet)?;
        Some(Piece { id, proto: 0, is_first: !chain.is_later_fragment() })
    }

    #[inline(always)]
    fn may_be_piece(_packet: &impl Packet, l4: usize) -> bool {
        l4 != ETHERNET + Self::HEADER
    }

    #[inline(always)]
    fn is_icmp_error(kind: u8) -> bool {
        matches!(kind, 1..=4)
    }
}

/// The Ethernet type of the packet, as it lies on the wire.
#[inline(always)]
pub fn version(packet: &impl Packet) -> Option<u16> {
    packet.load(12)
}

/// Parses a packet whose Ethernet type is the family's; nothing when it is cut short or its fields
/// contradict each other.
#[inline(always)]
pub fn parse<F: Wire>(packet: &impl Packet) -> Option<Headers<F>> {
    let mut headers = Headers::default();
    parse_into(packet, &mut headers)?;
    Some(headers)
}

/// [`parse`] into a place that is there, whose old values are of no meaning; those that it has when nothing
/// is returned are of none either.
#[inline(always)]
pub fn parse_into<F: Wire>(packet: &impl Packet, headers: &mut Headers<F>) -> Option<()> {
    let network = F::network(packet, ETHERNET)?;
    let l4 = network.l4;
    headers.src = F::address(packet, F::SRC)?;
    headers.dst = F::address(packet, F::DST)?;
    headers.proto = network.proto;
    headers.ttl = network.ttl;
    headers.l4 = l4;
    (headers.sport_be, headers.dport_be) = (0, 0);
    (headers.tcp_flags, headers.kind) = (0, Kind::Other);
    if network.is_later_fragment {
        headers.kind = Kind::Fragment;
    } else if network.proto == proto::TCP {
        let [sport, dport]: [u16; 2] = packet.load(l4)?;
        (headers.sport_be, headers.dport_be) = (sport, dport);
        headers.tcp_flags = packet.load(l4 + 13)?;
        headers.kind = Kind::Tcp;
    } else if network.proto == proto::UDP {
        let [sport, dport, _, _]: [u16; 4] = packet.load(l4)?;
        (headers.sport_be, headers.dport_be) = (sport, dport);
        headers.kind = Kind::Udp;
    } else if network.proto == proto::SCTP {
        let [sport, dport]: [u16; 2] = packet.load(l4)?;
        (headers.sport_be, headers.dport_be) = (sport, dport);
        let [_, _checksum]: [u32; 2] = packet.load(l4 + 4)?;
        // A packet may have no chunk; one with nothing else ends here.
        headers.tcp_flags = packet.load(l4 + 12).map_or(0, sctp_flags);
        headers.kind = Kind::Sctp;
    } else if network.proto == F::ICMP {
        let [kind, _]: [u8; 2] = packet.load(l4)?;
        if kind == F::ECHO_REQUEST {
            headers.sport_be = packet.load(l4 + 4)?;
            headers.kind = Kind::EchoRequest;
        } else if kind == F::ECHO_REPLY {
            headers.dport_be = packet.load(l4 + 4)?;
            headers.kind = Kind::EchoReply;
        } else if F::is_icmp_error(kind) {
            headers.kind = Kind::IcmpError;
        }
    }
    Some(())
}

/// What the type of a packet's first chunk (RFC 9260, section 3.2) means in terms of TCP.
#[inline(always)]
fn sctp_flags(chunk: u8) -> u8 {
    const INIT: u8 = 1;
    const ABORT: u8 = 6;
    const SHUTDOWN_COMPLETE: u8 = 14;
    match chunk {
        INIT => tcp_flags::SYN,
        ABORT => tcp_flags::RST,
        SHUTDOWN_COMPLETE => tcp_flags::FIN,
        _ => tcp_flags::ACK,
    }
}

impl<F: Wire> Headers<F> {
    /// Whether the packet has what a flow is known by.
    #[inline(always)]
    pub fn is_translatable(&self) -> bool {
        matches!(
            self.kind,
            Kind::Tcp
                | Kind::Udp
                | Kind::Sctp
                | Kind::EchoRequest
                | Kind::EchoReply
                | Kind::Continuation
        )
    }

    /// Whether the network header is longer than it has to be.
    #[inline(always)]
    pub fn has_options(&self) -> bool {
        self.l4 != ETHERNET + F::HEADER
    }

    /// Whether the packet may begin a connection.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        match self.kind {
            Kind::Tcp | Kind::Sctp => {
                self.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST)
                    == tcp_flags::SYN
            }
            Kind::Udp | Kind::EchoRequest => true,
            _ => false,
        }
    }
}
