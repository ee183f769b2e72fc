//! What a pod sends: TCX ingress of the host side of its veth pair.

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{Ingress, Net, Step, Tables, Verdict, from_pod, open_from_pod, route_from_pod};
use skep_packet::ethertype;

use crate::{
    act::{NEXT, act4, act6},
    error::{error4, error6},
    skb::Skb,
    tables::KernelTables,
    zero::zeroed,
};

/// Runs the functions of the packet's family, one after the other.
macro_rules! run {
    ($context:ident, $family:ty, $known:ident, $error:ident, $open:ident, $route:ident,
     $act:ident) => {{
        let mut place = MaybeUninit::<Step<$family>>::uninit();
        let step = &raw mut *zeroed(&mut place);
        let mut verdict = $known($context, step);
        if verdict == Verdict::ERROR.to_bits() {
            verdict = $error($context, Hook::PodIngress as u32, 0, step);
        }
        if verdict == Verdict::OPEN.to_bits() {
            verdict = $open($context, step);
        }
        if verdict == Verdict::ROUTE.to_bits() {
            verdict = $route($context, step);
        }
        $act($context, verdict, Hook::PodIngress as u32, step)
    }};
}

/// The program.
#[classifier]
pub fn pod_ingress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => run!(context, V4, pod_known4, error4, pod_open4, pod_route4, act4),
        ethertype::IPV6 => run!(context, V6, pod_known6, error6, pod_open6, pod_route6, act6),
        _ => NEXT,
    }
}

/// Known connections of IPv4.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_known4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    decide(context, step, from_pod::<V4, _>)
}

/// Known connections of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_known6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step, from_pod::<V6, _>)
}

/// New connections of IPv4 to Services.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_open4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    decide(context, step, open_from_pod::<V4, _>)
}

/// New connections of IPv6 to Services.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_open6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step, open_from_pod::<V6, _>)
}

/// New connections of IPv4 to no Service.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_route4(context: *mut __sk_buff, step: *mut Step<V4>) -> u64 {
    decide(context, step, route_from_pod::<V4, _>)
}

/// New connections of IPv6 to no Service.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_route6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step, route_from_pod::<V6, _>)
}

#[inline(always)]
fn decide<F: Net>(
    context: *mut __sk_buff,
    step: *mut Step<F>,
    function: impl FnOnce(&Skb, &KernelTables, Ingress, &mut Step<F>) -> Verdict,
) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    let skb = Skb::new(context);
    let at = skb.at(Hook::PodIngress);
    function(&skb, &KernelTables, at, step).to_bits()
}
