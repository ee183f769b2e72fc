//! What comes in by a device of the node, in its driver: Services for the world, as long as the packet
//! leaves by a device again or goes to a pod whose address is all it lacks.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::xdp_md, macros::xdp, programs::XdpContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{
    Action, Ingress, Net, Step, Tables, Verdict, answer, carry_out, from_node, from_peer,
    open_from_node, read,
};
use skep_packet::{Packet as _, ethertype, version};

use crate::{
    count::count,
    frame::Frame,
    handover,
    next_hop::{NextHop, leave},
    report,
    run::argument,
    tables::{KernelTables, config},
    zero::zeroed,
};

/// `XDP_DROP`.
const DROP: u32 = 1;
/// `XDP_PASS`.
const PASS: u32 = 2;
/// `XDP_TX`.
const TX: u32 = 3;
/// More than any action: the packet goes no further, for the reason whose number is added.
const REFUSED: u32 = 1 << 16;
/// Added to that: it is to become its answer.
const ANSWERED: u32 = 1 << 8;

/// Runs the functions of the packet's family, one after the other: see `act`.
macro_rules! run {
    ($context:ident, $family:ty, $known:ident, $peer:ident, $open:ident,
     $act:ident, $refuse:ident) => {{
        let mut place = MaybeUninit::<Step<$family>>::uninit();
        let step = zeroed(&mut place);
        if !read(&Frame::new($context), &KernelTables, step) {
            let verdict = Verdict::of_malformed(Hook::Xdp);
            return act::<$family>($context, verdict, None);
        }
        let step = &raw mut *step;
        let mut from_peer = 0;
        let mut verdict = $known($context, step);
        if verdict == Verdict::UNWRAP.to_bits() {
            from_peer = 1;
            verdict = $peer($context, step);
        }
        if verdict == Verdict::OPEN.to_bits() {
            verdict = $open($context, from_peer, step);
        }
        let action = $act($context, verdict, step);
        if action < REFUSED { action } else { $refuse($context, step, action - REFUSED) }
    }};
}

/// The program.
#[xdp]
pub fn node_xdp(context: XdpContext) -> u32 {
    let context = context.ctx;
    match version(&Frame::new(context)) {
        Some(ethertype::IPV4) => {
            run!(context, V4, xdp_known4, xdp_peer4, xdp_open4, xdp_act4, xdp_refuse4)
        }
        Some(ethertype::IPV6) => {
            run!(context, V6, xdp_known6, xdp_peer6, xdp_open6, xdp_act6, xdp_refuse6)
        }
        _ => PASS,
    }
}

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_known4(context: *mut xdp_md, step: *mut Step<V4>) -> u64 {
    decide(context, 0, step, from_node::<V4, _>)
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_known6(context: *mut xdp_md, step: *mut Step<V6>) -> u64 {
    decide(context, 0, step, from_node::<V6, _>)
}

/// What another node sent on, IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_peer4(context: *mut xdp_md, step: *mut Step<V4>) -> u64 {
    peer(context, step)
}

/// What another node sent on, IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_peer6(context: *mut xdp_md, step: *mut Step<V6>) -> u64 {
    peer(context, step)
}

/// New connections of IPv4; `from_peer` is 1 for what another node sent on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_open4(context: *mut xdp_md, from_peer: u32, step: *mut Step<V4>) -> u64 {
    decide(context, from_peer, step, |_, tables, at, step| open_from_node(tables, at, step))
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_open6(context: *mut xdp_md, from_peer: u32, step: *mut Step<V6>) -> u64 {
    decide(context, from_peer, step, |_, tables, at, step| open_from_node(tables, at, step))
}

#[inline(always)]
fn decide<F: Net>(
    context: *mut xdp_md,
    from_peer: u32,
    step: *mut Step<F>,
    function: impl FnOnce(&Frame, &KernelTables, Ingress, &mut Step<F>) -> Verdict,
) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    let frame = Frame::new(argument(context));
    let at = frame.at(from_peer != 0);
    function(&frame, &KernelTables, at, step).to_bits()
}

#[inline(always)]
fn peer<F: Net>(context: *mut xdp_md, step: *mut Step<F>) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: as above.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    let mut frame = Frame::new(context);
    let at = frame.at(true);
    from_peer(&mut frame, &KernelTables, at, step).to_bits()
}

#[inline(always)]
fn xdp_act4(context: *mut xdp_md, verdict: u64, step: *const Step<V4>) -> u32 {
    // SAFETY: as above.
    act(context, Verdict::from_bits(verdict), unsafe { step.as_ref() })
}

/// Carries out a verdict on an IPv6 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_act6(context: *mut xdp_md, verdict: u64, step: *const Step<V6>) -> u32 {
    // SAFETY: as above.
    act(context, Verdict::from_bits(verdict), unsafe { step.as_ref() })
}

/// Carries out a verdict. Inlined, as most of the time goes into what it does.
#[inline(always)]
fn act<F: NextHop>(context: *mut xdp_md, verdict: Verdict, step: Option<&Step<F>>) -> u32
where
    KernelTables: Tables<F>,
{
    // What passes as it is, the hook behind this one counts.
    if verdict == Verdict::PASS {
        #[cfg(feature = "trace")]
        crate::trace::note_verdict(verdict.to_bits());
        return PASS;
    }
    let Some(step) = step else { return PASS };
    let mut frame = Frame::new(context);
    let at = frame.at(false);
    let verdict = carry_out(&mut frame, &KernelTables, step, verdict);
    #[cfg(feature = "trace")]
    crate::trace::note_verdict(verdict.to_bits());
    count(at.hook, verdict.reason_number(), frame.len());
    match verdict.action() {
        Action::Drop => REFUSED + verdict.reason_number(),
        Action::Reject => REFUSED + ANSWERED + verdict.reason_number(),
        Action::ToPeer | Action::ToTunnel | Action::Out => {
            match leave::<F>(context, &mut frame, verdict) {
                Some(action) => action,
                // The kernel knows the way, but not yet the neighbour's address: its stack asks.
                None => handover::write(context, verdict),
            }
        }
        // Translated; the hook behind this one brings it into the pod.
        Action::Pass
        | Action::ToPod
        | Action::Unwrap
        | Action::Error
        | Action::Open
        | Action::Route => PASS,
    }
}

/// Reports that an IPv4 packet goes no further, and makes it the answer to itself where `why` says so.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_refuse4(context: *mut xdp_md, step: *const Step<V4>, why: u32) -> u32 {
    refuse(context, step, why)
}

/// Reports that an IPv6 packet goes no further, and makes it the answer to itself where `why` says so.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_refuse6(context: *mut xdp_md, step: *const Step<V6>, why: u32) -> u32 {
    refuse(context, step, why)
}

#[inline(always)]
fn refuse<F: Net>(context: *mut xdp_md, step: *const Step<F>, why: u32) -> u32 {
    // SAFETY: the callers hand in a reference.
    let Some(step) = (unsafe { step.as_ref() }) else { return DROP };
    let mut frame = Frame::new(context);
    let reason = why & (ANSWERED - 1);
    report::dropped(step.headers(), &frame, reason, frame.at(false));
    let Some(config) = config() else { return DROP };
    if why & ANSWERED != 0 && answer(&mut frame, step.headers(), reason, config).is_some() {
        TX
    } else {
        DROP
    }
}
