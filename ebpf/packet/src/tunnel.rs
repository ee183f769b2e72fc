//! A packet in an outer header of its own family: IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 (RFC 2473).
//!
//! The inner packet is never changed. Of its traffic class the outer header carries the DSCP, not the
//! congestion bits (the compatibility mode of RFC 6040), so there is nothing to copy back at the end.

use crate::{Packet, Wire, checksum::fold, checksum::sum_words, headers::ETHERNET};

/// Hops between nodes.
const TTL: u8 = 64;
/// "Do not fragment".
const DF: u16 = 0x4000_u16.to_be();

/// What the sender of a packet allows to be done with one that is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It fits.
    Fits,
    /// It does not, and its sender wants to be told.
    TellSender,
    /// It does not, and its sender relies on routers to cut it.
    TooBig,
}

/// Whether the packet fits into `mtu` bytes with an outer header around it.
#[inline(always)]
pub fn fits_in_tunnel<F: Wire>(packet: &impl Packet, mtu: u32) -> Option<Fit> {
    let len = outer_len::<F>(packet)?;
    if len <= mtu || (packet.is_segmented() && len <= u32::from(u16::MAX)) {
        return Some(Fit::Fits);
    }
    let tells = F::VERSION == 6 || packet.load::<u16>(ETHERNET + 6)? & DF != 0;
    Some(if tells { Fit::TellSender } else { Fit::TooBig })
}

/// Bytes of the packet and an outer header, the link header not counted.
#[inline(always)]
fn outer_len<F: Wire>(packet: &impl Packet) -> Option<u32> {
    let offset = if F::VERSION == 4 { ETHERNET + 2 } else { ETHERNET + 4 };
    let len_be: u16 = packet.load(offset)?;
    let header = if F::VERSION == 4 { 0 } else { F::HEADER };
    Some(u32::from(u16::from_be(len_be)) + (header + F::HEADER) as u32)
}

/// Puts the packet into an outer header from `src` to `dst`; nothing when there is no room for it.
#[inline(always)]
pub fn encapsulate<F: Wire>(packet: &mut impl Packet, src: &F::Addr, dst: &F::Addr) -> Option<()> {
    let len = outer_len::<F>(packet)?;
    if F::VERSION == 4 {
        let dscp = packet.load::<u8>(ETHERNET + 1)? & 0xfc;
        packet.insert_header::<F>()?;
        let words = [
            u16::from_ne_bytes([0x45, dscp]),
            (len as u16).to_be(),
            0,
            DF,
            u16::from_ne_bytes([TTL, F::TUNNEL]),
        ];
        let mut sum = sum_words(src.as_ref()) + sum_words(dst.as_ref());
        for word in words {
            sum += u64::from(word);
        }
        packet.store(ETHERNET, words)?;
        packet.store(ETHERNET + 10, !fold(sum))?;
    } else {
        // The flow label too: routers and devices spread flows by it.
        let first = packet.load::<u32>(ETHERNET)? & 0xffcf_ffff_u32.to_be();
        packet.insert_header::<F>()?;
        packet.store(ETHERNET, first)?;
        packet.store(ETHERNET + 4, (len as u16 - F::HEADER as u16).to_be())?;
        packet.store(ETHERNET + 6, [F::TUNNEL, TTL])?;
    }
    store_words(packet, F::SRC, src.as_ref())?;
    store_words(packet, F::DST, dst.as_ref())
}

/// Word by word: of a copy from one memory to another the compiler makes a byte loop.
#[inline(always)]
fn store_words(packet: &mut impl Packet, offset: usize, words: &[u32]) -> Option<()> {
    for (number, word) in words.iter().enumerate() {
        packet.store(offset + number * 4, *word)?;
    }
    Some(())
}
