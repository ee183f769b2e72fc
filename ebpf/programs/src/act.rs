//! From the engine's verdict to what a TC program does with a packet.
//!
//! A program is a few functions, one after the other: those that decide, and the one here that acts. They
//! are global ones, which the verifier walks each by itself, and they follow upon each other instead of
//! one calling the other, which keeps their frames off the same 512 bytes of stack.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1},
    helpers::generated::{
        bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_set_tunnel_key,
    },
};
use skep_abi::{Hook, Peer, Reason, V4, V6, peer_mode};
use skep_engine::{Action, Net, Step, Tables, Verdict, carry_out, peer_of};
use skep_packet::{Headers, Packet as _};

use crate::{
    count::count,
    report,
    skb::Skb,
    tables::{KernelTables, config, peer},
};

/// `TCX_NEXT`: to the next program, or on its way.
pub const NEXT: i32 = -1;
/// More than any action: the packet is to become its answer ([`answer4`], [`answer6`]), for the reason
/// whose number is added.
pub const ANSWER: i32 = 1 << 16;
/// `TC_ACT_SHOT`.
const SHOT: i32 = 2;
/// `BPF_F_INGRESS`.
const INGRESS: u64 = 1;
/// `BPF_F_TUNINFO_IPV6`.
const TUNNEL_OVER_IPV6: u64 = 1;
/// `BPF_F_ZERO_CSUM_TX`.
const NO_OUTER_CHECKSUM: u64 = 1 << 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// A family as far as sending needs it.
pub trait Send: Net {
    /// The peer's address between the nodes as a next hop.
    fn next_hop(peer: &Peer) -> bpf_redir_neigh;
    /// Reports a packet that is dropped or rejected.
    fn report(context: *mut __sk_buff, headers: &Headers<Self>, reason: u32, hook: u32);
}

impl Send for V4 {
    #[inline(always)]
    fn next_hop(peer: &Peer) -> bpf_redir_neigh {
        bpf_redir_neigh {
            nh_family: AF_INET,
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: [peer.addr4[0], 0, 0, 0] },
        }
    }

    #[inline(always)]
    fn report(context: *mut __sk_buff, headers: &Headers<V4>, reason: u32, hook: u32) {
        report4(context, headers, reason, hook);
    }
}

impl Send for V6 {
    #[inline(always)]
    fn next_hop(peer: &Peer) -> bpf_redir_neigh {
        bpf_redir_neigh {
            nh_family: AF_INET6,
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: peer.addr6 },
        }
    }

    #[inline(always)]
    fn report(context: *mut __sk_buff, headers: &Headers<V6>, reason: u32, hook: u32) {
        report6(context, headers, reason, hook);
    }
}

/// Makes an IPv4 packet the answer to itself and sends it back to where it came from.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer4(
    context: *mut __sk_buff,
    step: *const Step<V4>,
    reason: u32,
    hook: u32,
) -> i32 {
    answer(context, step, reason, hook)
}

/// Makes an IPv6 packet the answer to itself and sends it back to where it came from.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer6(
    context: *mut __sk_buff,
    step: *const Step<V6>,
    reason: u32,
    hook: u32,
) -> i32 {
    answer(context, step, reason, hook)
}

#[inline(always)]
fn answer<F: Send>(context: *mut __sk_buff, step: *const Step<F>, reason: u32, hook: u32) -> i32
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let (Some(step), Some(config)) = (unsafe { step.as_ref() }, config()) else {
        return SHOT;
    };
    let mut skb = Skb::new(context);
    if skep_engine::answer(&mut skb, step.headers(), reason, config).is_none() {
        return SHOT;
    }
    if hook == Hook::OverlayIngress as u32 {
        let sent = peer_of::<F, _>(&skb, &KernelTables).map(|peer| to_peer::<F>(&skb, peer));
        return if let Some(Ok(action)) = sent { action } else { SHOT };
    }
    // What came from the node's own stack goes back there.
    let flags = if hook == Hook::NodeEgress as u32 { INGRESS } else { 0 };
    // SAFETY: the context is valid while the program runs; the helper only notes the device.
    unsafe { bpf_redirect((*context).ifindex, flags) as i32 }
}

/// Reports that an IPv4 packet is dropped or rejected; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report4(
    context: *mut __sk_buff,
    headers: *const Headers<V4>,
    reason: u32,
    hook: u32,
) -> i32 {
    report_dropped(context, headers, reason, hook)
}

/// Reports that an IPv6 packet is dropped or rejected; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report6(
    context: *mut __sk_buff,
    headers: *const Headers<V6>,
    reason: u32,
    hook: u32,
) -> i32 {
    report_dropped(context, headers, reason, hook)
}

#[inline(always)]
fn report_dropped<F: Net>(
    context: *mut __sk_buff,
    headers: *const Headers<F>,
    reason: u32,
    hook: u32,
) -> i32 {
    let skb = Skb::new(context);
    // SAFETY: as above.
    let headers = unsafe { headers.as_ref() };
    if let (Some(headers), Some(hook)) = (headers, Hook::from_number(hook as u8)) {
        report::dropped(headers, &skb, reason, skb.at(hook));
    }
    0
}

/// Carries out a verdict on an IPv4 packet and counts it. Without a `step` the packet stays as it is:
/// that was done before, or it cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn act4(
    context: *mut __sk_buff,
    verdict: u64,
    hook: u32,
    step: *const Step<V4>,
) -> i32 {
    // SAFETY: the callers hand in a reference or nothing.
    act(context, Verdict::from_bits(verdict), hook, unsafe { step.as_ref() })
}

/// Carries out a verdict on an IPv6 packet and counts it. Without a `step` the packet stays as it is:
/// that was done before, or it cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn act6(
    context: *mut __sk_buff,
    verdict: u64,
    hook: u32,
    step: *const Step<V6>,
) -> i32 {
    // SAFETY: as above.
    act(context, Verdict::from_bits(verdict), hook, unsafe { step.as_ref() })
}

#[inline(always)]
fn act<F: Send>(context: *mut __sk_buff, verdict: Verdict, hook: u32, step: Option<&Step<F>>) -> i32
where
    KernelTables: Tables<F>,
{
    let mut skb = Skb::new(context);
    let verdict = match step {
        Some(step) => carry_out(&mut skb, &KernelTables, step, verdict),
        None => verdict,
    };
    #[cfg(feature = "trace")]
    crate::trace::note_verdict(verdict.to_bits());
    let (argument, mut reason) = (verdict.argument(), verdict.reason_number());
    let action = match verdict.action() {
        Action::Pass | Action::Unwrap | Action::Error | Action::Open | Action::Route => NEXT,
        Action::Drop | Action::Reject => match step.map(Step::headers) {
            Some(headers) => {
                F::report(context, headers, reason, hook);
                match verdict.action() {
                    Action::Drop => SHOT,
                    _ => ANSWER + reason as i32,
                }
            }
            None => SHOT,
        },
        // Only what comes in can be handed into the pod; what goes out takes the way through its device.
        Action::ToPod if hook == Hook::NodeEgress as u32 => out(argument),
        Action::ToPod => to_pod(argument),
        Action::ToPeer => match to_peer::<F>(&skb, argument) {
            Ok(action) => action,
            Err(failed) => {
                reason = failed as u32;
                SHOT
            }
        },
        Action::ToTunnel => match to_tunnel(argument) {
            Some(action) => action,
            None => {
                reason = Reason::InvalidPeer as u32;
                SHOT
            }
        },
        Action::Out => out(argument),
    };
    if let Some(hook) = Hook::from_number(hook as u8) {
        count(hook, reason, skb.len());
    }
    action
}

/// Into the pod behind the host-side device.
#[inline(always)]
fn to_pod(ifindex: u32) -> i32 {
    // SAFETY: the helper only notes the device.
    unsafe { bpf_redirect_peer(ifindex, 0) as i32 }
}

/// To another node by its own address, which the packet has in its outer header.
#[inline(always)]
fn to_tunnel(index: u32) -> Option<i32> {
    let ifindex = match peer(index)?.ifindex {
        0 => config()?.uplink_ifindex,
        ifindex => ifindex,
    };
    Some(out(ifindex))
}

/// Out of the device, to where the packet's own addresses lead.
#[inline(always)]
fn out(ifindex: u32) -> i32 {
    // SAFETY: without parameters the kernel routes by the packet's own addresses.
    unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 }
}

/// To another node: straight, or through the overlay.
#[inline(always)]
fn to_peer<F: Send>(skb: &Skb, index: u32) -> Result<i32, Reason> {
    let Some(peer) = peer(index) else { return Err(Reason::InvalidPeer) };
    match peer.mode {
        peer_mode::DIRECT => {
            let mut next_hop = F::next_hop(peer);
            let bytes = size_of::<bpf_redir_neigh>() as i32;
            // SAFETY: the parameters live over the call, which copies them.
            Ok(unsafe { bpf_redirect_neigh(peer.ifindex, &raw mut next_hop, bytes, 0) as i32 })
        }
        peer_mode::VXLAN => {
            let Some(config) = config() else { return Err(Reason::NotConfigured) };
            set_tunnel(skb, peer, config.vni)?;
            // SAFETY: the helper only notes the device.
            Ok(unsafe { bpf_redirect(config.overlay_ifindex, 0) as i32 })
        }
        _ => Err(Reason::InvalidPeer),
    }
}

/// The kernel's `bpf_tunnel_key` up to its label: what every kernel knows.
#[repr(C)]
struct TunnelKey {
    id: u32,
    remote: [u32; 4],
    tos: u8,
    ttl: u8,
    ext: u16,
}

/// Tells the overlay device where to send the packet.
#[inline(always)]
pub fn set_tunnel(skb: &Skb, peer: &Peer, vni: u32) -> Result<(), Reason> {
    let (remote, flags) = if peer.addr4[0] != 0 {
        ([u32::from_be(peer.addr4[0]), 0, 0, 0], NO_OUTER_CHECKSUM)
    } else {
        (peer.addr6, TUNNEL_OVER_IPV6 | NO_OUTER_CHECKSUM)
    };
    let mut key = TunnelKey { id: vni, remote, tos: 0, ttl: 64, ext: 0 };
    let bytes = size_of::<TunnelKey>() as u32;
    // SAFETY: the key lives over the call, which copies it.
    match unsafe { bpf_skb_set_tunnel_key(skb.context(), (&raw mut key).cast(), bytes, flags) } {
        0 => Ok(()),
        _ => Err(Reason::HelperFailed),
    }
}
