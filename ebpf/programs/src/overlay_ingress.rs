//! What comes out of the overlay: TCX ingress of the overlay device.

use aya_ebpf::{
    EbpfContext as _, bindings::__sk_buff, helpers::generated::bpf_skb_change_type,
    macros::classifier, programs::TcContext,
};
use skep_abi::{Hook, V4, V6};
use skep_engine::{from_node, open_from_node};

use crate::{
    act::{act, by_family},
    skb::Skb,
    tables::KernelTables,
};

/// The program.
#[classifier]
pub fn overlay_ingress(context: TcContext) -> i32 {
    accept(context.as_ptr().cast::<__sk_buff>());
    by_family!(
        context,
        Hook::OverlayIngress,
        [overlay_ingress4, open_overlay_ingress4 if OPEN],
        [overlay_ingress6, open_overlay_ingress6 if OPEN]
    )
}

/// Takes a frame for this node whatever its hardware address says: senders put in whose they know, and
/// nobody on this node has it. Pods and the stack would drop it as meant for another host.
#[inline(always)]
fn accept(context: *mut __sk_buff) {
    const PACKET_HOST: u32 = 0;
    const PACKET_OTHERHOST: u32 = 3;
    // SAFETY: the context is valid while the program runs.
    unsafe {
        if (*context).pkt_type == PACKET_OTHERHOST {
            bpf_skb_change_type(context, PACKET_HOST);
        }
    }
}

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn overlay_ingress4(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::OverlayIngress);
    let verdict = from_node::<V4, _>(&mut skb, &KernelTables, at);
    act::<V4>(&skb, verdict, at)
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn overlay_ingress6(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::OverlayIngress);
    let verdict = from_node::<V6, _>(&mut skb, &KernelTables, at);
    act::<V6>(&skb, verdict, at)
}

/// New connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_overlay_ingress4(context: *mut __sk_buff, round: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::OverlayIngress);
    let verdict = open_from_node::<V4, _>(&mut skb, &KernelTables, at, round);
    act::<V4>(&skb, verdict, at)
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_overlay_ingress6(context: *mut __sk_buff, round: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::OverlayIngress);
    let verdict = open_from_node::<V6, _>(&mut skb, &KernelTables, at, round);
    act::<V6>(&skb, verdict, at)
}
