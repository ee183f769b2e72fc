//! What comes in by a device of the node, in its driver: Services for the world, as long as the packet
//! leaves by a device again or goes to a pod whose address is all it lacks.

use aya_ebpf::{bindings::xdp_md, macros::xdp, programs::XdpContext};
use skep_abi::{Reason, V4, V6};
use skep_engine::{
    Action, Net, SNAT_ROUNDS, Verdict, from_node, from_peer, open_from_node, tunnel_mtu,
};
use skep_packet::{Packet as _, ethertype, parse, reject, tell_mtu, version};

use crate::{
    count::count,
    frame::Frame,
    handover,
    next_hop::{NextHop, leave},
    report,
    tables::{KernelTables, config},
};

/// `XDP_DROP`.
const DROP: u32 = 1;
/// `XDP_PASS`.
const PASS: u32 = 2;
/// `XDP_TX`.
const TX: u32 = 3;

/// The program.
#[xdp]
pub fn node_xdp(context: XdpContext) -> u32 {
    let context = context.ctx;
    match version(&Frame::new(context)) {
        Some(ethertype::IPV4) => {
            let mut from_peer = 0;
            let mut verdict = xdp_known4(context);
            if verdict == Verdict::UNWRAP.to_bits() {
                from_peer = 1;
                verdict = xdp_peer4(context);
            }
            if verdict == Verdict::OPEN.to_bits() {
                for round in 0..SNAT_ROUNDS {
                    verdict = xdp_open4(context, round, from_peer);
                    if verdict != Verdict::NO_PORT.to_bits() {
                        break;
                    }
                }
            }
            xdp_act4(context, verdict)
        }
        Some(ethertype::IPV6) => {
            let mut from_peer = 0;
            let mut verdict = xdp_known6(context);
            if verdict == Verdict::UNWRAP.to_bits() {
                from_peer = 1;
                verdict = xdp_peer6(context);
            }
            if verdict == Verdict::OPEN.to_bits() {
                for round in 0..SNAT_ROUNDS {
                    verdict = xdp_open6(context, round, from_peer);
                    if verdict != Verdict::NO_PORT.to_bits() {
                        break;
                    }
                }
            }
            xdp_act6(context, verdict)
        }
        _ => PASS,
    }
}

// Global functions, one after the other: see `act::by_family`.

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_known4(context: *mut xdp_md) -> u64 {
    let mut frame = Frame::new(context);
    let at = frame.at(false);
    from_node::<V4, _>(&mut frame, &KernelTables, at).to_bits()
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_known6(context: *mut xdp_md) -> u64 {
    let mut frame = Frame::new(context);
    let at = frame.at(false);
    from_node::<V6, _>(&mut frame, &KernelTables, at).to_bits()
}

/// What another node sent on, IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_peer4(context: *mut xdp_md) -> u64 {
    let mut frame = Frame::new(context);
    let at = frame.at(true);
    from_peer::<V4, _>(&mut frame, &KernelTables, at).unwrap_or(Verdict::PASS).to_bits()
}

/// New connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_open4(context: *mut xdp_md, round: u32, from_peer: u32) -> u64 {
    let mut frame = Frame::new(context);
    let at = frame.at(from_peer != 0);
    open_from_node::<V4, _>(&mut frame, &KernelTables, at, round).to_bits()
}

/// What another node sent on, IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_peer6(context: *mut xdp_md) -> u64 {
    let mut frame = Frame::new(context);
    let at = frame.at(true);
    from_peer::<V6, _>(&mut frame, &KernelTables, at).unwrap_or(Verdict::PASS).to_bits()
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_open6(context: *mut xdp_md, round: u32, from_peer: u32) -> u64 {
    let mut frame = Frame::new(context);
    let at = frame.at(from_peer != 0);
    open_from_node::<V6, _>(&mut frame, &KernelTables, at, round).to_bits()
}

/// Carries out a verdict on an IPv4 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_act4(context: *mut xdp_md, verdict: u64) -> u32 {
    act::<V4>(context, Verdict::from_bits(verdict))
}

/// Carries out a verdict on an IPv6 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn xdp_act6(context: *mut xdp_md, verdict: u64) -> u32 {
    act::<V6>(context, Verdict::from_bits(verdict))
}

#[inline(always)]
fn act<F: NextHop>(context: *mut xdp_md, verdict: Verdict) -> u32 {
    let mut frame = Frame::new(context);
    let at = frame.at(false);
    if verdict == Verdict::PASS {
        // The hook behind this one counts it.
        return PASS;
    }
    count(at.hook, verdict.reason_number(), frame.len());
    if matches!(verdict.action(), Action::Drop | Action::Reject) {
        report::dropped::<F>(&frame, verdict.reason_number(), at);
    }
    match verdict.action() {
        Action::Drop => DROP,
        Action::Reject => match answer::<F>(&mut frame, verdict.reason_number()) {
            Some(()) => TX,
            None => DROP,
        },
        Action::ToPeer | Action::ToTunnel | Action::Out => {
            match leave::<F>(context, &mut frame, verdict) {
                Some(action) => action,
                // The kernel knows the way, but not yet the neighbour's address: its stack asks.
                None => handover::write(context, verdict),
            }
        }
        // Translated; the hook behind this one brings it into the pod.
        Action::Pass | Action::ToPod | Action::Unwrap | Action::Open | Action::Route => PASS,
    }
}

#[inline(always)]
fn answer<F: Net>(frame: &mut Frame, reason: u32) -> Option<()> {
    let headers = parse::<F>(frame)?;
    if reason == Reason::PacketTooBig as u32 {
        return tell_mtu(frame, &headers, tunnel_mtu::<F>(config()?));
    }
    reject(frame, &headers)
}
