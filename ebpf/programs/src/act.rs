//! From the engine's verdict to what a TC program does with a packet.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1},
    helpers::generated::{
        bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_set_tunnel_key,
    },
};
use skep_abi::{Hook, Peer, Reason, V4, V6, peer_mode};
use skep_engine::{Action, Ingress, Net, Tables, Verdict, peer_of, tunnel_mtu};
use skep_packet::{Packet as _, parse, reject, tell_mtu};

use crate::{
    count::count,
    report,
    skb::Skb,
    tables::{KernelTables, config, peer},
};

/// `TCX_NEXT`: to the next program, or on its way.
pub const NEXT: i32 = -1;
/// `TC_ACT_SHOT`.
const SHOT: i32 = 2;
/// `BPF_F_TUNINFO_IPV6`.
const TUNNEL_OVER_IPV6: u64 = 1;
/// `BPF_F_ZERO_CSUM_TX`.
const NO_OUTER_CHECKSUM: u64 = 1 << 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// What functions return for a packet that opens a connection: no action that a program knows.
pub const OPEN: i32 = 100;
/// What functions return for a packet that opens a connection to no Service.
pub const ROUTE: i32 = 102;
/// What functions return for a packet whose translated source found no port in this round.
pub const NO_PORT: i32 = 103;
/// What functions return for a packet that has to be rejected.
pub const REJECT: i32 = 101;
/// What functions return for a packet whose sender has to be told the size that fits.
pub const TOO_BIG: i32 = 104;
/// What functions return for a packet in an outer header.
pub const UNWRAP: i32 = 105;

/// Runs a hook's functions over a packet, by its family: the one for known connections, then, as that
/// says, the one for new ones to Services and the one for new ones to elsewhere; and rejects what any
/// of them says to reject. Neither IPv4 nor IPv6 goes its way.
///
/// The functions are global ones, which the verifier walks each by itself, and they follow upon each
/// other instead of one calling the other, which keeps their frames off the same 512 bytes of stack.
macro_rules! by_family {
    ($context:expr, $hook:expr, $steps4:tt, $steps6:tt) => {{
        let context = $context.as_ptr().cast::<__sk_buff>();
        let from_overlay = u32::from($hook as u8 == skep_abi::Hook::OverlayIngress as u8);
        // SAFETY: the context is valid while the program runs.
        match unsafe { (*context).protocol as u16 } {
            skep_packet::ethertype::IPV4 => {
                let action = $crate::act::in_turn!(context, $steps4);
                match action {
                    $crate::act::TOO_BIG => $crate::act::tell_mtu4(context),
                    $crate::act::REJECT => $crate::act::refuse4(context, from_overlay),
                    $crate::act::NO_PORT => $crate::act::no_port(context, $hook),
                    action => action,
                }
            }
            skep_packet::ethertype::IPV6 => {
                let action = $crate::act::in_turn!(context, $steps6);
                match action {
                    $crate::act::TOO_BIG => $crate::act::tell_mtu6(context),
                    $crate::act::REJECT => $crate::act::refuse6(context, from_overlay),
                    $crate::act::NO_PORT => $crate::act::no_port(context, $hook),
                    action => action,
                }
            }
            _ => $crate::act::NEXT,
        }
    }};
}
pub(crate) use by_family;

/// Runs functions in turn, until one has an action that is not the call for the next. Those after the
/// first are asked again while they find no port for a translated source.
macro_rules! in_turn {
    ($context:ident, [$known:ident $(($own:expr))? $(, $next:ident $(($more:expr))? if $code:ident)*]) => {{
        let mut action = $known($context $(, $own)?);
        $(
            if action == $crate::act::$code {
                for round in 0..skep_engine::SNAT_ROUNDS {
                    action = $next($context, round $(, $more)?);
                    if action != $crate::act::NO_PORT {
                        break;
                    }
                }
            }
        )*
        action
    }};
}
pub(crate) use in_turn;

/// A family as far as sending needs it.
pub trait Send: Net {
    /// The peer's address between the nodes as a next hop.
    fn next_hop(peer: &Peer) -> bpf_redir_neigh;
    /// Reports a packet that is dropped or rejected.
    fn report(skb: &Skb, reason: u32, at: Ingress);
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
    fn report(skb: &Skb, reason: u32, at: Ingress) {
        report4(skb.context(), reason, at.hook as u32);
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
    fn report(skb: &Skb, reason: u32, at: Ingress) {
        report6(skb.context(), reason, at.hook as u32);
    }
}

/// Drops a packet whose translated source found no port in any round.
#[inline(always)]
pub fn no_port(context: *mut __sk_buff, hook: Hook) -> i32 {
    // SAFETY: the context is valid while the program runs.
    count(hook, Verdict::NO_PORT.reason_number(), unsafe { (*context).len });
    SHOT
}

/// Makes an IPv4 packet its own rejection and sends it back to where it came from.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn refuse4(context: *mut __sk_buff, from_overlay: u32) -> i32 {
    refuse::<V4>(context, from_overlay)
}

/// Makes an IPv6 packet its own rejection and sends it back to where it came from.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn refuse6(context: *mut __sk_buff, from_overlay: u32) -> i32 {
    refuse::<V6>(context, from_overlay)
}

/// Makes an IPv4 packet the message that tells its sender how large packets may be.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_mtu4(context: *mut __sk_buff) -> i32 {
    tell::<V4>(context)
}

/// Makes an IPv6 packet the message that tells its sender how large packets may be.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_mtu6(context: *mut __sk_buff) -> i32 {
    tell::<V6>(context)
}

#[inline(always)]
fn tell<F: Net>(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let told = config().and_then(|config| {
        let headers = parse::<F>(&skb)?;
        tell_mtu(&mut skb, &headers, tunnel_mtu::<F>(config))
    });
    if told.is_none() {
        return SHOT;
    }
    // SAFETY: the context is valid while the program runs; the helper only notes the device.
    unsafe { bpf_redirect((*context).ifindex, 0) as i32 }
}

#[inline(always)]
fn refuse<F: Send>(context: *mut __sk_buff, from_overlay: u32) -> i32
where
    KernelTables: Tables<F>,
{
    let mut skb = Skb::new(context);
    if parse::<F>(&skb).and_then(|headers| reject(&mut skb, &headers)).is_none() {
        return SHOT;
    }
    if from_overlay != 0 {
        let sent = peer_of::<F, _>(&skb, &KernelTables).map(|peer| to_peer::<F>(&skb, peer));
        return if let Some(Ok(action)) = sent { action } else { SHOT };
    }
    // SAFETY: the context is valid while the program runs; the helper only notes the device.
    unsafe { bpf_redirect((*context).ifindex, 0) as i32 }
}

/// Reports that an IPv4 packet is dropped or rejected; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report4(context: *mut __sk_buff, reason: u32, hook: u32) -> i32 {
    report_dropped::<V4>(context, reason, hook)
}

/// Reports that an IPv6 packet is dropped or rejected; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report6(context: *mut __sk_buff, reason: u32, hook: u32) -> i32 {
    report_dropped::<V6>(context, reason, hook)
}

#[inline(always)]
fn report_dropped<F: Net>(context: *mut __sk_buff, reason: u32, hook: u32) -> i32 {
    let skb = Skb::new(context);
    if let Some(hook) = Hook::from_number(hook as u8) {
        report::dropped::<F>(&skb, reason, skb.at(hook));
    }
    0
}

/// Carries out a verdict and counts it.
#[inline(always)]
pub fn act<F: Send>(skb: &Skb, verdict: Verdict, at: Ingress) -> i32
where
    KernelTables: Tables<F>,
{
    if verdict == Verdict::NO_PORT {
        return NO_PORT;
    }
    let (argument, mut reason) = (verdict.argument(), verdict.reason_number());
    let action = match verdict.action() {
        Action::Open => return OPEN,
        Action::Unwrap => return UNWRAP,
        Action::Route => return ROUTE,
        Action::Pass => NEXT,
        Action::Drop => {
            F::report(skb, reason, at);
            SHOT
        }
        Action::Reject => {
            F::report(skb, reason, at);
            if reason == Reason::PacketTooBig as u32 { TOO_BIG } else { REJECT }
        }
        Action::ToPod => to_pod(argument),
        Action::ToPeer => match to_peer::<F>(skb, argument) {
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
        // SAFETY: without parameters the kernel routes by the packet's own addresses.
        Action::Out => unsafe { bpf_redirect_neigh(argument, core::ptr::null_mut(), 0, 0) as i32 },
    };
    count(at.hook, reason, skb.len());
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
    // SAFETY: without parameters the kernel routes by the packet's own addresses.
    Some(unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 })
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
