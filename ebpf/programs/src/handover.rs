//! From XDP to the TCX hook of the same device: a verdict on a packet that is translated already and
//! that only the stack can send, in front of the packet where the kernel carries it along.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::bpf_xdp_adjust_meta,
};
use skep_engine::Verdict;

/// What tells a verdict from what other programs put there.
const MAGIC: u32 = 0x736b_6570;

/// The note.
#[repr(C)]
struct Note {
    magic: u32,
    action: u32,
    argument: u32,
    zero: u32,
}

/// `XDP_DROP`.
const DROP: u32 = 1;
/// `XDP_PASS`.
const PASS: u32 = 2;

/// Hands the packet over with its verdict.
#[inline(always)]
pub fn write(context: *mut xdp_md, verdict: Verdict) -> u32 {
    // SAFETY: the helper checks the room; bounds are checked below, as the verifier proves.
    unsafe {
        if bpf_xdp_adjust_meta(context, -(size_of::<Note>() as i32)) != 0 {
            return DROP;
        }
        let note = (*context).data_meta as usize as *mut Note;
        if note.add(1) as usize > (*context).data as usize {
            return DROP;
        }
        let bits = verdict.to_bits();
        (*note).magic = MAGIC;
        (*note).action = (bits >> 32) as u32;
        (*note).argument = bits as u32;
        (*note).zero = 0;
    }
    PASS
}

/// The verdict that XDP handed over with the packet.
#[inline(always)]
pub fn read(context: *mut __sk_buff) -> Option<Verdict> {
    // SAFETY: the context is valid while the program runs; bounds are checked, as the verifier proves.
    unsafe {
        let note = (*context).data_meta as usize as *const Note;
        if note.add(1) as usize > (*context).data as usize || (*note).magic != MAGIC {
            return None;
        }
        let (action, argument) = ((*note).action, (*note).argument);
        Some(Verdict::from_bits(u64::from(action) << 32 | u64::from(argument)))
    }
}
