//! What the node's stack sends to a pod: TCX egress of the host side of its veth pair.

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{Net, Step, Tables, Verdict, to_pod};
use skep_packet::ethertype;

use crate::{
    act::{NEXT, act4, act6},
    error::{error4, error6},
    skb::Skb,
    tables::KernelTables,
    zero::zeroed,
};

/// Runs the functions of the packet's family, one after the other.
macro_rules! run {
    ($context:ident, $family:ty, $decide:ident, $error:ident, $act:ident) => {{
        let mut place = MaybeUninit::<Step<$family>>::uninit();
        let step = &raw mut *zeroed(&mut place);
        let mut verdict = $decide($context, step);
        if verdict == Verdict::ERROR.to_bits() {
            verdict = $error($context, Hook::PodEgress as u32, 0, step);
        }
        $act($context, verdict, Hook::PodEgress as u32, step)
    }};
}

/// The program.
#[classifier]
pub fn pod_egress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => run!(context, V4, to_pod4, error4, act4),
        ethertype::IPV6 => run!(context, V6, to_pod6, error6, act6),
        _ => NEXT,
    }
}

/// What becomes of an IPv4 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn to_pod4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    decide(context, step)
}

/// What becomes of an IPv6 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn to_pod6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step)
}

#[inline(always)]
fn decide<F: Net>(context: *mut __sk_buff, step: *mut Step<F>) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    to_pod(&Skb::new(context), &KernelTables, step).to_bits()
}
