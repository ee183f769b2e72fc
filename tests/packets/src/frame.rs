//! Frames described by what matters in them, and built with checksums summed in full: the measure for
//! what the datapath does by difference.

use skep_abi::{Family, proto};
use skep_packet::checksum::{of_bytes, sum_words};

/// TCP flags of frames.
pub mod flags {
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Answers the opening.
    pub const SYN_ACK: u8 = 0x12;
    /// Carries data.
    pub const ACK: u8 = 0x10;
    /// Ends one direction.
    pub const FIN_ACK: u8 = 0x11;
    /// Refuses without an acknowledgment.
    pub const RST: u8 = 0x04;
    /// Refuses what had no acknowledgment.
    pub const RST_ACK: u8 = 0x14;
}

/// Types of SCTP's chunks.
pub mod chunk {
    /// User data.
    pub const DATA: u8 = 0;
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// Answers the opening.
    pub const INIT_ACK: u8 = 2;
}

/// What follows the network header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// TCP without options or data.
    Tcp {
        /// See [`flags`].
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgment number.
        ack: u32,
    },
    /// UDP with data; `checksum` false leaves the field zero (IPv4 allows it).
    Udp {
        /// Data.
        data: &'static [u8],
        /// Whether there is a checksum.
        checksum: bool,
    },
    /// SCTP with one chunk of this type.
    Sctp {
        /// See [`chunk`].
        chunk: u8,
    },
    /// ICMP echo; the port of the asking side is the identifier.
    Echo {
        /// Whether it is the reply.
        reply: bool,
        /// Data.
        data: &'static [u8],
    },
    /// ICMP port unreachable that quotes the head of another frame.
    Unreachable(Box<Vec<u8>>),
    /// ICMP "packet too big" with the size that fits and the head of another frame.
    TooBig(u16, Box<Vec<u8>>),
    /// ICMP "time exceeded" with the head of another frame.
    Expired(Box<Vec<u8>>),
    /// A packet of the same family.
    Tunnel(Box<Vec<u8>>),
    /// Any other protocol.
    Other(u8),
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<F: Family> {
    /// Source address and port.
    pub src: (F::Addr, u16),
    /// Destination address and port.
    pub dst: (F::Addr, u16),
    /// Time to live.
    pub ttl: u8,
    /// What it carries.
    pub payload: Payload,
    /// Ethernet source and destination, turned around in answers.
    pub macs: ([u8; 6], [u8; 6]),
    /// Whether its network header has options (IPv4), or extension headers behind it (IPv6).
    pub has_options: bool,
    /// Which piece of the packet it is; nothing: all of it.
    pub piece: Option<Piece>,
}

/// The two pieces of a packet that does not fit: the first has [`FIRST_PIECE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// With the transport header.
    First,
    /// With the rest.
    Last,
}

/// Bytes of a first piece, its network header not counted.
const FIRST_PIECE: usize = 16;
/// The identification of packets in pieces.
const PIECES_ID: [u8; 4] = [0, 0, 0xab, 0xcd];

/// Hardware address of whoever sends a frame.
pub const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Hardware address of whoever receives it.
pub const RECEIVER: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl<F: Family> Frame<F> {
    fn new(src: (F::Addr, u16), dst: (F::Addr, u16), payload: Payload) -> Self {
        let macs = (SENDER, RECEIVER);
        Self { src, dst, ttl: 64, payload, macs, has_options: false, piece: None }
    }

    /// A TCP segment.
    pub fn tcp(src: (F::Addr, u16), dst: (F::Addr, u16), flags: u8) -> Self {
        Self::new(src, dst, Payload::Tcp { flags, seq: 1000, ack: 2000 })
    }

    /// A UDP datagram.
    pub fn udp(src: (F::Addr, u16), dst: (F::Addr, u16)) -> Self {
        Self::new(src, dst, Payload::Udp { data: b"datagram", checksum: true })
    }

    /// A UDP datagram without a checksum.
    pub fn udp_unchecked(src: (F::Addr, u16), dst: (F::Addr, u16)) -> Self {
        Self::new(src, dst, Payload::Udp { data: b"odd", checksum: false })
    }

    /// An SCTP packet.
    pub fn sctp(src: (F::Addr, u16), dst: (F::Addr, u16), chunk: u8) -> Self {
        Self::new(src, dst, Payload::Sctp { chunk })
    }

    /// An echo request of the identifier that is the source's port.
    pub fn echo_request(src: (F::Addr, u16), dst: F::Addr) -> Self {
        Self::new(src, (dst, 0), Payload::Echo { reply: false, data: b"ping" })
    }

    /// An echo reply to the identifier that is the destination's port.
    pub fn echo_reply(src: F::Addr, dst: (F::Addr, u16)) -> Self {
        Self::new((src, 0), dst, Payload::Echo { reply: true, data: b"ping" })
    }

    /// A protocol that is never translated.
    pub fn other(src: F::Addr, dst: F::Addr, protocol: u8) -> Self {
        Self::new((src, 0), (dst, 0), Payload::Other(protocol))
    }

    /// The TCP reset that answers this segment.
    pub fn reset(&self) -> Self {
        let Payload::Tcp { flags: own, seq, ack } = self.payload else {
            panic!("only TCP is reset")
        };
        let one = u32::from(own & 0x02 != 0) + u32::from(own & 0x01 != 0);
        let payload = if own & flags::ACK != 0 {
            Payload::Tcp { flags: flags::RST, seq: ack, ack: 0 }
        } else {
            Payload::Tcp { flags: flags::RST_ACK, seq: 0, ack: seq.wrapping_add(one) }
        };
        Self { macs: (RECEIVER, SENDER), ..Self::new(self.dst, self.src, payload) }
    }

    /// The ICMP error that answers this frame.
    pub fn unreachable(&self) -> Self {
        let payload = Payload::Unreachable(Box::new(self.head()));
        Self { macs: (RECEIVER, SENDER), ..Self::new((self.dst.0, 0), (self.src.0, 0), payload) }
    }

    /// The ICMP error that tells this frame's sender to send at most `mtu` bytes.
    pub fn too_big(&self, mtu: u16) -> Self {
        let payload = Payload::TooBig(mtu, Box::new(self.head()));
        Self { macs: (RECEIVER, SENDER), ..Self::new((self.dst.0, 0), (self.src.0, 0), payload) }
    }

    /// The ICMP error that answers this frame when its time is over.
    pub fn expired(&self) -> Self {
        let payload = Payload::Expired(Box::new(self.head()));
        Self { macs: (RECEIVER, SENDER), ..Self::new((self.dst.0, 0), (self.src.0, 0), payload) }
    }

    /// The ICMP error by which somebody on the way tells this frame's sender that it was too big.
    pub fn stopped_by(&self, router: F::Addr) -> Self {
        let payload = Payload::TooBig(1400, Box::new(self.head()));
        Self::new((router, 0), (self.src.0, 0), payload)
    }

    /// What ICMP errors quote of the frame.
    fn head(&self) -> Vec<u8> {
        self.bytes()[14..14 + Self::header_bytes() + 8].to_vec()
    }

    /// The frame with options or extension headers.
    pub fn with_options(self) -> Self {
        Self { has_options: true, ..self }
    }

    /// A piece of the frame.
    pub fn piece(&self, piece: Piece) -> Self {
        Self { piece: Some(piece), ..self.clone() }
    }

    /// The frame in an outer header.
    pub fn wrapped(&self, src: F::Addr, dst: F::Addr) -> Self {
        let payload = Payload::Tunnel(Box::new(self.bytes()[14..].to_vec()));
        Self { macs: self.macs, ..Self::new((src, 0), (dst, 0), payload) }
    }

    /// The frame one hop on.
    pub fn hop(self) -> Self {
        Self { ttl: self.ttl - 1, ..self }
    }

    /// The frame with another time to live.
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The frame with these Ethernet addresses, source and destination.
    pub fn link(self, src: [u8; 6], dst: [u8; 6]) -> Self {
        Self { macs: (src, dst), ..self }
    }

    fn header_bytes() -> usize {
        if F::VERSION == 4 { 20 } else { 40 }
    }

    fn icmp() -> u8 {
        if F::VERSION == 4 { proto::ICMP } else { proto::ICMPV6 }
    }

    fn protocol(&self) -> u8 {
        match self.payload {
            Payload::Tcp { .. } => proto::TCP,
            Payload::Udp { .. } => proto::UDP,
            Payload::Sctp { .. } => proto::SCTP,
            Payload::Echo { .. }
            | Payload::Unreachable(_)
            | Payload::TooBig(..)
            | Payload::Expired(_) => Self::icmp(),
            Payload::Tunnel(_) if F::VERSION == 4 => 4,
            Payload::Tunnel(_) => 41,
            Payload::Other(protocol) => protocol,
        }
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut segment = self.segment();
        match self.piece {
            Some(Piece::First) => segment.truncate(FIRST_PIECE),
            Some(Piece::Last) => segment = segment.split_off(FIRST_PIECE),
            None => {}
        }
        let mut bytes = Vec::new();
        bytes.extend(self.macs.1);
        bytes.extend(self.macs.0);
        bytes.extend(if F::VERSION == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        bytes.extend(if F::VERSION == 4 {
            self.ipv4_header(segment.len())
        } else {
            self.ipv6_headers(segment.len())
        });
        bytes.extend(segment);
        bytes
    }

    fn ipv4_header(&self, carried: usize) -> Vec<u8> {
        // Two words of "no operation".
        let options = if self.has_options { vec![1; 8] } else { vec![] };
        let length = 20 + options.len();
        let [_, _, id @ ..] = PIECES_ID;
        // "Do not fragment", "more fragments", and an offset in units of 8 bytes.
        let (id, pieces) = match self.piece {
            None => ([0, 0], [0x40, 0]),
            Some(Piece::First) => (id, [0x20, 0]),
            Some(Piece::Last) => (id, [0, FIRST_PIECE as u8 / 8]),
        };
        let mut header = vec![0x40 | (length as u8 / 4), 0];
        header.extend(((length + carried) as u16).to_be_bytes());
        header.extend(id);
        header.extend(pieces);
        header.extend([self.ttl, self.protocol(), 0, 0]);
        header.extend(words(self.src.0.as_ref()));
        header.extend(words(self.dst.0.as_ref()));
        header.extend(options);
        let checksum = of_bytes(&header, 0);
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        header
    }

    fn ipv6_headers(&self, carried: usize) -> Vec<u8> {
        const HOP_BY_HOP: u8 = 0;
        const FRAGMENT: u8 = 44;
        const DESTINATION: u8 = 60;
        // From the last to the first: each names the one behind it. Options are six bytes of padding.
        let (mut next, mut chain) = (self.protocol(), Vec::new());
        if self.has_options {
            chain.splice(..0, [next, 0, 1, 4, 0, 0, 0, 0]);
            next = DESTINATION;
        }
        if let Some(piece) = self.piece {
            let offset = if piece == Piece::First { 1 } else { FIRST_PIECE as u8 };
            chain.splice(..0, [&[next, 0, 0, offset][..], &PIECES_ID].concat());
            next = FRAGMENT;
        }
        if self.has_options {
            chain.splice(..0, [next, 0, 1, 4, 0, 0, 0, 0]);
            next = HOP_BY_HOP;
        }
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(((chain.len() + carried) as u16).to_be_bytes());
        header.extend([next, self.ttl]);
        header.extend(words(self.src.0.as_ref()));
        header.extend(words(self.dst.0.as_ref()));
        header.extend(chain);
        header
    }

    fn segment(&self) -> Vec<u8> {
        let (sport, dport) = (self.src.1.to_be_bytes(), self.dst.1.to_be_bytes());
        let mut segment = Vec::new();
        match &self.payload {
            Payload::Tcp { flags, seq, ack } => {
                segment.extend(sport);
                segment.extend(dport);
                segment.extend(seq.to_be_bytes());
                segment.extend(ack.to_be_bytes());
                // What answers sets no window.
                let window = if flags & flags::RST == 0 { 1024_u16 } else { 0 };
                segment.extend([0x50, *flags]);
                segment.extend(window.to_be_bytes());
                segment.extend([0, 0, 0, 0]);
                self.seal(&mut segment, 16);
            }
            Payload::Udp { data, checksum } => {
                segment.extend(sport);
                segment.extend(dport);
                segment.extend((8 + data.len() as u16).to_be_bytes());
                segment.extend([0, 0]);
                segment.extend(*data);
                if *checksum {
                    self.seal(&mut segment, 6);
                }
            }
            Payload::Sctp { chunk } => {
                segment.extend(sport);
                segment.extend(dport);
                segment.extend(if *chunk == chunk::INIT { [0; 4] } else { [1, 2, 3, 4] });
                segment.extend([0; 4]);
                segment.extend([*chunk, 0, 0, 20]);
                segment.extend(b"sixteen bytes...");
                let crc = crc32c(&segment);
                segment[8..12].copy_from_slice(&crc.to_le_bytes());
            }
            Payload::Echo { reply, data } => {
                let kind = match (F::VERSION, reply) {
                    (4, false) => 8,
                    (4, true) => 0,
                    (_, false) => 128,
                    (_, true) => 129,
                };
                segment.extend([kind, 0, 0, 0]);
                segment.extend(if *reply { dport } else { sport });
                segment.extend([0, 1]);
                segment.extend(*data);
                self.seal(&mut segment, 2);
            }
            Payload::Unreachable(head) => {
                segment.extend(if F::VERSION == 4 { [3, 3] } else { [1, 4] });
                segment.extend([0; 6]);
                segment.extend(head.as_slice());
                self.seal(&mut segment, 2);
            }
            Payload::TooBig(mtu, head) => {
                segment.extend(if F::VERSION == 4 { [3, 4] } else { [2, 0] });
                segment.extend([0; 4]);
                segment.extend(mtu.to_be_bytes());
                segment.extend(head.as_slice());
                self.seal(&mut segment, 2);
            }
            Payload::Expired(head) => {
                segment.extend(if F::VERSION == 4 { [11, 0] } else { [3, 0] });
                segment.extend([0; 6]);
                segment.extend(head.as_slice());
                self.seal(&mut segment, 2);
            }
            Payload::Tunnel(inner) => segment.extend(inner.as_slice()),
            Payload::Other(_) => segment.extend(b"sixteen bytes..."),
        }
        segment
    }

    /// Puts the checksum over the segment and its pseudo header at `offset`.
    fn seal(&self, segment: &mut [u8], offset: usize) {
        let protocol = self.protocol();
        let pseudo = if protocol == proto::ICMP {
            0
        } else {
            sum_words(self.src.0.as_ref())
                + sum_words(self.dst.0.as_ref())
                + u64::from(u16::from_ne_bytes([0, protocol]))
                + u64::from((segment.len() as u16).to_be())
        };
        let mut checksum = of_bytes(segment, pseudo);
        if checksum == 0 && protocol == proto::UDP {
            checksum = u16::MAX;
        }
        segment[offset..offset + 2].copy_from_slice(&checksum.to_ne_bytes());
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// SCTP's checksum, in full, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
        }
    }
    !crc
}
