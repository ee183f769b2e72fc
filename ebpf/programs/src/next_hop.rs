//! Sending a packet on from XDP: finding the next hop's hardware address and leaving by the right device.

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibLookup, xdp_md},
    helpers::generated::{bpf_fib_lookup, bpf_redirect},
};
use skep_abi::{V4, V6, peer_mode};
use skep_engine::{Action, Net, Verdict};
use skep_packet::{Packet as _, forward_ethernet};

use crate::{frame::Frame, tables::peer};

/// `XDP_TX`.
const TX: u32 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A family as far as finding a next hop needs it.
pub trait NextHop: Net {
    /// Writes the addresses of a question to the kernel's routes.
    fn ask(question: &mut FibLookup, src: &Self::Addr, dst: &Self::Addr);
}

impl NextHop for V4 {
    #[inline(always)]
    fn ask(question: &mut FibLookup, src: &[u32; 1], dst: &[u32; 1]) {
        question.family = AF_INET;
        question.__bindgen_anon_3.ipv4_src = src[0];
        question.__bindgen_anon_4.ipv4_dst = dst[0];
    }
}

impl NextHop for V6 {
    #[inline(always)]
    fn ask(question: &mut FibLookup, src: &[u32; 4], dst: &[u32; 4]) {
        question.family = AF_INET6;
        question.__bindgen_anon_3.ipv6_src = *src;
        question.__bindgen_anon_4.ipv6_dst = *dst;
    }
}

/// Sends the packet to where the verdict says; nothing when the kernel has to.
#[inline(always)]
pub fn leave<F: NextHop>(context: *mut xdp_md, frame: &mut Frame, verdict: Verdict) -> Option<u32> {
    let ingress = frame.at(false).ifindex;
    let mut dst: F::Addr = frame.load(F::DST)?;
    let is_tunnel = matches!(verdict.action(), Action::ToTunnel);
    if is_tunnel || matches!(verdict.action(), Action::ToPeer) {
        let peer = peer(verdict.argument())?;
        if !is_tunnel && peer.mode != peer_mode::DIRECT {
            return None;
        }
        if peer.mac != [0; 6] {
            forward_ethernet(frame, peer.mac)?;
            return Some(by_device(peer.ifindex, ingress));
        }
        dst = *F::of_peer(peer);
    }
    // SAFETY: all zero is a question.
    let mut question: FibLookup = unsafe { core::mem::zeroed() };
    let src: F::Addr = frame.load(F::SRC)?;
    F::ask(&mut question, &src, &dst);
    question.ifindex = ingress;
    let bytes = size_of::<FibLookup>() as i32;
    // SAFETY: the question lives over the call, which answers in its place.
    if unsafe { bpf_fib_lookup(context.cast(), &raw mut question, bytes, 0) } != 0 {
        return None;
    }
    frame.store(0, question.dmac)?;
    frame.store(6, question.smac)?;
    Some(by_device(question.ifindex, ingress))
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
