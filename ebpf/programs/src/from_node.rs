//! What comes in by a device of the node or out of the overlay, at TCX: the functions that two programs
//! share.

use aya_ebpf::bindings::__sk_buff;
use skep_abi::{Hook, V4, V6};
use skep_engine::{Ingress, Net, Step, Tables, Verdict, from_node, from_peer, open_from_node};
use skep_packet::ethertype;

use crate::{
    act::NEXT,
    error::{error4, error6},
    run::run,
    skb::Skb,
    tables::KernelTables,
};

/// A packet of either family. Others go their way.
#[inline(always)]
pub fn run(context: *mut __sk_buff, hook: Hook) -> i32 {
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => run!(context, hook, V4, act4, answer4, step => {
            let (hook, mut from_peer) = (hook as u32, 0);
            let mut verdict = known4(context, hook, step);
            if verdict == Verdict::UNWRAP.to_bits() {
                from_peer = 1;
                verdict = peer4(context, step);
            }
            if verdict == Verdict::ERROR.to_bits() {
                verdict = error4(context, hook, from_peer, step);
            }
            if verdict == Verdict::OPEN.to_bits() {
                verdict = open4(context, hook, from_peer, step);
            }
            verdict
        }),
        ethertype::IPV6 => run!(context, hook, V6, act6, answer6, step => {
            let (hook, mut from_peer) = (hook as u32, 0);
            let mut verdict = known6(context, hook, step);
            if verdict == Verdict::UNWRAP.to_bits() {
                from_peer = 1;
                verdict = peer6(context, step);
            }
            if verdict == Verdict::ERROR.to_bits() {
                verdict = error6(context, hook, from_peer, step);
            }
            if verdict == Verdict::OPEN.to_bits() {
                verdict = open6(context, hook, from_peer, step);
            }
            verdict
        }),
        _ => NEXT,
    }
}

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn known4(context: *mut __sk_buff, hook: u32, step: *mut Step<V4>) -> u64 {
    decide(context, hook, 0, step, from_node::<V4, _>)
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn known6(context: *mut __sk_buff, hook: u32, step: *mut Step<V6>) -> u64 {
    decide(context, hook, 0, step, from_node::<V6, _>)
}

/// What another node sent on, IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn peer4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    peer(context, step)
}

/// What another node sent on, IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn peer6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    peer(context, step)
}

/// New connections of IPv4; `from_peer` is 1 for what another node sent on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open4(
    context: *mut __sk_buff,
    hook: u32,
    from_peer: u32,
    step: *mut Step<V4>,
) -> u64 {
    decide(context, hook, from_peer, step, |_, tables, at, step| open_from_node(tables, at, step))
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open6(
    context: *mut __sk_buff,
    hook: u32,
    from_peer: u32,
    step: *mut Step<V6>,
) -> u64 {
    decide(context, hook, from_peer, step, |_, tables, at, step| open_from_node(tables, at, step))
}

#[inline(always)]
fn decide<F: Net>(
    context: *mut __sk_buff,
    hook: u32,
    from_peer: u32,
    step: *mut Step<F>,
    function: impl FnOnce(&Skb, &KernelTables, Ingress, &mut Step<F>) -> Verdict,
) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    let is_overlay = hook == Hook::OverlayIngress as u32;
    let hook = if is_overlay { Hook::OverlayIngress } else { Hook::NodeIngress };
    let skb = Skb::reached(context);
    let at = Ingress { from_peer: from_peer != 0, ..skb.at(hook) };
    function(&skb, &KernelTables, at, step).to_bits()
}

#[inline(always)]
fn peer<F: Net>(context: *mut __sk_buff, step: *mut Step<F>) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: as above.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    let mut skb = Skb::new(context);
    let at = Ingress { from_peer: true, ..skb.at(Hook::NodeIngress) };
    from_peer(&mut skb, &KernelTables, at, step).to_bits()
}
