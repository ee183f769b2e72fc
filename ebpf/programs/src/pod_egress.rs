//! What the node's stack sends to a pod: TCX egress of the host side of its veth pair.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{Net, Step, Tables, Verdict, to_pod};
use skep_packet::ethertype;

use crate::{
    act::NEXT,
    error::{error4, error6},
    run::run,
    skb::Skb,
    tables::KernelTables,
};

/// The verdict that asks for what becomes of an ICMP error.
const ERROR: u64 = Verdict::ERROR.to_bits();

/// The program.
#[classifier]
pub fn pod_egress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => run!(context, Hook::PodEgress, V4, act4, answer4, step => {
            match to_pod4(context, step) {
                ERROR => error4(context, Hook::PodEgress as u32, 0, step),
                verdict => verdict,
            }
        }),
        ethertype::IPV6 => run!(context, Hook::PodEgress, V6, act6, answer6, step => {
            match to_pod6(context, step) {
                ERROR => error6(context, Hook::PodEgress as u32, 0, step),
                verdict => verdict,
            }
        }),
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
    to_pod(&Skb::reached(context), &KernelTables, step).to_bits()
}
