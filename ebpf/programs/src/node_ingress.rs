//! What comes in by a device of the node: TCX ingress.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{Ingress, Verdict, from_node, from_peer, open_from_node};
use skep_packet::{ethertype, version};

use crate::{
    act::{UNWRAP, act, by_family},
    handover,
    skb::Skb,
    tables::KernelTables,
};

/// The program.
#[classifier]
pub fn node_ingress(context: TcContext) -> i32 {
    if let Some(verdict) = handover::read(context.as_ptr().cast::<__sk_buff>()) {
        return handed_over(context.as_ptr().cast::<__sk_buff>(), verdict.to_bits());
    }
    let action = by_family!(
        context,
        Hook::NodeIngress,
        [node_ingress4, open_node_ingress4(0) if OPEN],
        [node_ingress6, open_node_ingress6(0) if OPEN]
    );
    if action != UNWRAP {
        return action;
    }
    by_family!(
        context,
        Hook::NodeIngress,
        [peer_ingress4, open_node_ingress4(1) if OPEN],
        [peer_ingress6, open_node_ingress6(1) if OPEN]
    )
}

/// Sends a packet that XDP translated and could not send.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn handed_over(context: *mut __sk_buff, verdict: u64) -> i32 {
    let skb = Skb::new(context);
    let (verdict, at) = (Verdict::from_bits(verdict), skb.at(Hook::NodeIngress));
    match version(&skb) {
        Some(ethertype::IPV4) => act::<V4>(&skb, verdict, at),
        _ => act::<V6>(&skb, verdict, at),
    }
}

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn node_ingress4(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::NodeIngress);
    let verdict = from_node::<V4, _>(&mut skb, &KernelTables, at);
    act::<V4>(&skb, verdict, at)
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn node_ingress6(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::NodeIngress);
    let verdict = from_node::<V6, _>(&mut skb, &KernelTables, at);
    act::<V6>(&skb, verdict, at)
}

/// What another node sent on, IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn peer_ingress4(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = Ingress { from_peer: true, ..skb.at(Hook::NodeIngress) };
    let verdict = from_peer::<V4, _>(&mut skb, &KernelTables, at).unwrap_or(Verdict::PASS);
    act::<V4>(&skb, verdict, at)
}

/// New connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_node_ingress4(context: *mut __sk_buff, round: u32, from_peer: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = Ingress { from_peer: from_peer != 0, ..skb.at(Hook::NodeIngress) };
    let verdict = open_from_node::<V4, _>(&mut skb, &KernelTables, at, round);
    act::<V4>(&skb, verdict, at)
}

/// What another node sent on, IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn peer_ingress6(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = Ingress { from_peer: true, ..skb.at(Hook::NodeIngress) };
    let verdict = from_peer::<V6, _>(&mut skb, &KernelTables, at).unwrap_or(Verdict::PASS);
    act::<V6>(&skb, verdict, at)
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_node_ingress6(context: *mut __sk_buff, round: u32, from_peer: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = Ingress { from_peer: from_peer != 0, ..skb.at(Hook::NodeIngress) };
    let verdict = open_from_node::<V6, _>(&mut skb, &KernelTables, at, round);
    act::<V6>(&skb, verdict, at)
}
