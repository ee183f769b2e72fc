//! Sending a packet on from XDP: finding the next hop's hardware address and leaving by the right device.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibLookup, xdp_md},
    helpers::generated::{bpf_fib_lookup, bpf_jiffies64, bpf_redirect},
};
use skep_abi::{NextHop as Hop, V4, V6, next_hop_index, peer_mode};
use skep_engine::{Action, Net, Verdict};
use skep_packet::Packet as _;

use crate::{
    frame::Frame,
    maps,
    tables::{config, peer},
    zero::zeroed,
};

/// `XDP_TX`.
const TX: u32 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A family as far as finding a next hop needs it.
pub trait NextHop: Net {
    /// Writes the addresses of a question to the kernel's routes.
    fn ask(question: &mut FibLookup, src: &Self::Addr, dst: &Self::Addr);
    /// Finds the next hop; a function of its own, which few packets need.
    fn find(context: *mut xdp_md, verdict: u64, hop: &mut Hop) -> u32;
}

impl NextHop for V4 {
    #[inline(always)]
    fn ask(question: &mut FibLookup, src: &[u32; 1], dst: &[u32; 1]) {
        question.family = AF_INET;
        question.__bindgen_anon_3.ipv4_src = src[0];
        question.__bindgen_anon_4.ipv4_dst = dst[0];
    }

    #[inline(always)]
    fn find(context: *mut xdp_md, verdict: u64, hop: &mut Hop) -> u32 {
        next_hop4(context, verdict, hop)
    }
}

impl NextHop for V6 {
    #[inline(always)]
    fn ask(question: &mut FibLookup, src: &[u32; 4], dst: &[u32; 4]) {
        question.family = AF_INET6;
        question.__bindgen_anon_3.ipv6_src = *src;
        question.__bindgen_anon_4.ipv6_dst = *dst;
    }

    #[inline(always)]
    fn find(context: *mut xdp_md, verdict: u64, hop: &mut Hop) -> u32 {
        next_hop6(context, verdict, hop)
    }
}

/// Sends the packet to where the verdict says; nothing when the kernel has to.
#[inline(always)]
pub fn leave<F: NextHop>(context: *mut xdp_md, frame: &mut Frame, verdict: Verdict) -> Option<u32> {
    let ingress = frame.at(false).ifindex;
    if matches!(verdict.action(), Action::ToTunnel | Action::ToPeer)
        && let Some(hop) = maps::NEXT_HOPS.get(next_hop_index::<F>(verdict.argument()))
        && hop.ifindex != 0
        && now_ticks().wrapping_sub(hop.asked_ticks) < config()?.ticks_per_s
    {
        return send(frame, hop, ingress);
    }
    let mut place = MaybeUninit::uninit();
    let hop: &mut Hop = zeroed(&mut place);
    if F::find(context, verdict.to_bits(), hop) == 0 {
        return None;
    }
    send(frame, hop, ingress)
}

/// Finds the next hop of an IPv4 packet, and notes it where the next packet looks; 1 when there is one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn next_hop4(context: *mut xdp_md, verdict: u64, hop: *mut Hop) -> u32 {
    // SAFETY: the callers hand in a reference.
    let hop = unsafe { hop.as_mut() };
    u32::from(find::<V4>(context, Verdict::from_bits(verdict), hop).is_some())
}

/// Finds the next hop of an IPv6 packet, and notes it where the next packet looks; 1 when there is one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn next_hop6(context: *mut xdp_md, verdict: u64, hop: *mut Hop) -> u32 {
    // SAFETY: as above.
    let hop = unsafe { hop.as_mut() };
    u32::from(find::<V6>(context, Verdict::from_bits(verdict), hop).is_some())
}

#[inline(always)]
fn find<F: NextHop>(context: *mut xdp_md, verdict: Verdict, hop: Option<&mut Hop>) -> Option<()> {
    let (hop, frame) = (hop?, Frame::new(context));
    let is_tunnel = matches!(verdict.action(), Action::ToTunnel);
    if !is_tunnel && !matches!(verdict.action(), Action::ToPeer) {
        let dst = F::address(&frame, F::DST)?;
        *hop = ask::<F>(context, &frame, &dst)?;
        return Some(());
    }
    let peer = peer(verdict.argument())?;
    if !is_tunnel && peer.mode != peer_mode::DIRECT {
        return None;
    }
    *hop = Hop { asked_ticks: now_ticks(), ..ask::<F>(context, &frame, F::of_peer(peer))? };
    if let Some(known) = maps::NEXT_HOPS.get_ptr_mut(next_hop_index::<F>(verdict.argument())) {
        // SAFETY: the row lives as long as the map. Programs that write it at once have asked at once;
        // should their answers differ, so would the packets' ways without this row.
        unsafe { *known = *hop };
    }
    Some(())
}

/// Gives the frame its hardware addresses and sends it out of the device.
#[inline(always)]
fn send(frame: &mut Frame, hop: &Hop, ingress: u32) -> Option<u32> {
    // Word by word: of all in one go the compiler makes a loop over bytes.
    let [first, second, third] = hop.macs;
    frame.store(8, third)?;
    frame.store(4, second)?;
    frame.store(0, first)?;
    Some(by_device(hop.ifindex, ingress))
}

/// Asks the kernel for the way to an address.
#[inline(always)]
fn ask<F: NextHop>(context: *mut xdp_md, frame: &Frame, dst: &F::Addr) -> Option<Hop> {
    let mut place = MaybeUninit::uninit();
    let question: &mut FibLookup = zeroed(&mut place);
    let src = F::address(frame, F::SRC)?;
    F::ask(question, &src, dst);
    question.ifindex = frame.at(false).ifindex;
    let bytes = size_of::<FibLookup>() as i32;
    // SAFETY: the question lives over the call, which answers in its place.
    if unsafe { bpf_fib_lookup(context.cast(), &raw mut *question, bytes, 0) } != 0 {
        return None;
    }
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (question.dmac, question.smac);
    let macs = [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_ne_bytes);
    Some(Hop { ifindex: question.ifindex, asked_ticks: 0, macs })
}

#[inline(always)]
fn now_ticks() -> u32 {
    // SAFETY: the helper takes nothing and reads a counter.
    unsafe { bpf_jiffies64() as u32 }
}

/// Out of the device: its own, or another.
#[inline(always)]
fn by_device(ifindex: u32, ingress: u32) -> u32 {
    if ifindex == ingress {
        return TX;
    }
    // SAFETY: the helper only notes the device.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}
