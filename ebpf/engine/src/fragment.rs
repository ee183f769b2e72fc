//! Packets in pieces: the ports that the first piece told are those of the others.
//!
//! A piece whose first was not seen, or too long ago, has no ports: it is routed where nothing has to be
//! translated, and dropped where something would.

use skep_abi::{FragmentKey, FragmentPorts};
use skep_packet::{Headers, Kind, Packet, parse, parse_into, tcp_flags};

use crate::{Net, Tables};

/// How long the ports of a first piece count, in seconds: as long as Linux waits for all pieces.
const LIFE_S: u32 = 30;

/// In what [`look`] returns: the facts stay as they are.
const AS_PARSED: u64 = 0;
/// There are no ports that would do.
const WITHOUT_PORTS: u64 = 1 << 40;
/// The ports stand below, the protocol behind them.
const WITH_PORTS: u64 = 1 << 41;

/// [`parse_into`], with the ports of a packet in pieces.
#[inline(always)]
pub(crate) fn read<F: Net, T: Tables<F>>(
    packet: &impl Packet,
    tables: &T,
    headers: &mut Headers<F>,
) -> Option<()> {
    parse_into(packet, headers)?;
    if F::may_be_piece(packet, headers.l4) {
        let told = look(packet, tables);
        if told & WITHOUT_PORTS != 0 {
            headers.kind = Kind::Fragment;
        } else if told & WITH_PORTS != 0 {
            headers.kind = Kind::Continuation;
            headers.sport_be = told as u16;
            headers.dport_be = (told >> 16) as u16;
            headers.proto = (told >> 32) as u8;
            // It opens no connection.
            headers.tcp_flags = tcp_flags::ACK;
        }
    }
    Some(())
}

/// Notes the ports of a first piece, and finds those of others. A function of its own in the kernel, which
/// hands back one word: where it fills in the facts itself, the compiler hands it the packet's end as a
/// number, which the verifier refuses.
#[inline(never)]
fn look<F: Net, T: Tables<F>>(packet: &impl Packet, tables: &T) -> u64 {
    let (Some(piece), Some(config)) = (F::piece(packet), tables.config()) else {
        return AS_PARSED;
    };
    let Some(headers) = parse::<F>(packet) else { return AS_PARSED };
    let (src, dst) = (headers.src, headers.dst);
    let key = FragmentKey { src, dst, id: piece.id, proto: piece.proto, pad: 0, pad16: 0 };
    let seen_ticks = tables.now_ticks();
    if piece.is_first {
        // Its checksum is over all pieces, at a distance from their end that the first does not tell.
        if headers.kind == Kind::Sctp {
            return WITHOUT_PORTS;
        }
        let Headers { sport_be, dport_be, proto, .. } = headers;
        let ports = FragmentPorts { seen_ticks, sport_be, dport_be, proto, pad: 0, pad16: 0 };
        if headers.is_translatable() {
            tables.note_fragment(&key, &ports);
        }
        return AS_PARSED;
    }
    match tables.fragment(&key) {
        Some(first)
            if seen_ticks.wrapping_sub(first.seen_ticks)
                <= u64::from(LIFE_S) * u64::from(config.ticks_per_s) =>
        {
            WITH_PORTS
                | u64::from(first.sport_be)
                | u64::from(first.dport_be) << 16
                | u64::from(first.proto) << 32
        }
        _ => AS_PARSED,
    }
}
