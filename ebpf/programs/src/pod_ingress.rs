//! What a pod sends: TCX ingress of the host side of its veth pair.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{from_pod, open_from_pod, route_from_pod};

use crate::{
    act::{act, by_family},
    skb::Skb,
    tables::KernelTables,
};

/// The program.
#[classifier]
pub fn pod_ingress(context: TcContext) -> i32 {
    by_family!(
        context,
        Hook::PodIngress,
        [pod_ingress4, open_pod_ingress4 if OPEN, route_pod_ingress4 if ROUTE],
        [pod_ingress6, open_pod_ingress6 if OPEN, route_pod_ingress6 if ROUTE]
    )
}

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_ingress4(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    let verdict = from_pod::<V4, _>(&mut skb, &KernelTables, at);
    act::<V4>(&skb, verdict, at)
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_ingress6(context: *mut __sk_buff) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    let verdict = from_pod::<V6, _>(&mut skb, &KernelTables, at);
    act::<V6>(&skb, verdict, at)
}

/// New connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_pod_ingress4(context: *mut __sk_buff, round: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    let verdict = open_from_pod::<V4, _>(&mut skb, &KernelTables, at, round);
    act::<V4>(&skb, verdict, at)
}

/// New connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn open_pod_ingress6(context: *mut __sk_buff, round: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    let verdict = open_from_pod::<V6, _>(&mut skb, &KernelTables, at, round);
    act::<V6>(&skb, verdict, at)
}

/// New connections of IPv4 to no Service.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn route_pod_ingress4(context: *mut __sk_buff, round: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    let verdict = route_from_pod::<V4, _>(&mut skb, &KernelTables, at, round);
    act::<V4>(&skb, verdict, at)
}

/// New connections of IPv6 to no Service.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn route_pod_ingress6(context: *mut __sk_buff, round: u32) -> i32 {
    let mut skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    let verdict = route_from_pod::<V6, _>(&mut skb, &KernelTables, at, round);
    act::<V6>(&skb, verdict, at)
}
