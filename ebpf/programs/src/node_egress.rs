//! What the node's stack sends out of one of its devices: TCX egress.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{Ingress, Net, Step, Tables, Verdict, open_from_host, to_node};
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
/// The verdict that asks for a new connection.
const OPEN: u64 = Verdict::OPEN.to_bits();

/// The program.
#[classifier]
pub fn node_egress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => run!(context, Hook::NodeEgress, V4, act4, answer4, step => {
            match to_node4(context, step) {
                ERROR => error4(context, Hook::NodeEgress as u32, 0, step),
                OPEN => host_open4(context, step),
                verdict => verdict,
            }
        }),
        ethertype::IPV6 => run!(context, Hook::NodeEgress, V6, act6, answer6, step => {
            match to_node6(context, step) {
                ERROR => error6(context, Hook::NodeEgress as u32, 0, step),
                OPEN => host_open6(context, step),
                verdict => verdict,
            }
        }),
        _ => NEXT,
    }
}

/// What becomes of an IPv4 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn to_node4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    decide(context, step, to_node::<V4, _>)
}

/// What becomes of an IPv6 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn to_node6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step, to_node::<V6, _>)
}

/// New connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn host_open4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    decide(context, step, |_, tables, at, step| open_from_host(tables, at, step))
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn host_open6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step, |_, tables, at, step| open_from_host(tables, at, step))
}

#[inline(always)]
fn decide<F: Net>(
    context: *mut __sk_buff,
    step: *mut Step<F>,
    function: impl FnOnce(&Skb, &KernelTables, Ingress, &mut Step<F>) -> Verdict,
) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    let skb = Skb::reached(context);
    let at = skb.at(Hook::NodeEgress);
    function(&skb, &KernelTables, at, step).to_bits()
}
