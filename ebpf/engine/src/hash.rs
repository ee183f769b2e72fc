//! A small mixing hash over tuples: it chooses slots and ports, so it must spread, not resist attack
//! by itself; the node's seed keeps strangers from predicting it.

use skep_packet::Headers;

use crate::Net;

/// The finalizer of MurmurHash3: every bit of the input reaches every bit of the output.
#[inline(always)]
pub(crate) fn mix(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x85eb_ca6b);
    word ^= word >> 13;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^ word >> 16
}

/// The hash of a packet's tuple. A function of its own in the kernel, for the sake of its callers' stack.
#[inline(never)]
pub(crate) fn of_tuple<F: Net>(headers: &Headers<F>, seed: u32) -> u32 {
    let mut hash = seed ^ u32::from(headers.proto);
    for word in headers.src.as_ref() {
        hash = mix(hash ^ *word);
    }
    for word in headers.dst.as_ref() {
        hash = mix(hash ^ *word);
    }
    mix(hash ^ (u32::from(headers.sport_be) | u32::from(headers.dport_be) << 16))
}

/// A number below `count` from a hash.
#[inline(always)]
pub(crate) fn below(hash: u32, count: u32) -> u32 {
    ((u64::from(hash) * u64::from(count)) >> 32) as u32
}
