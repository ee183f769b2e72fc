//! What a pod sends: TCX ingress of the host side of its veth pair.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::{Ingress, Net, Step, Tables, Verdict, from_pod, open_from_pod, route_from_pod};
use skep_packet::ethertype;

use crate::{
    act::NEXT,
    error::{error4, error6},
    run::run,
    skb::Skb,
    tables::KernelTables,
};

/// The program.
#[classifier]
pub fn pod_ingress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => run!(context, Hook::PodIngress, V4, act4, answer4, step => {
            let mut verdict = pod_known4(context, step);
            if verdict == Verdict::ERROR.to_bits() {
                verdict = error4(context, Hook::PodIngress as u32, 0, step);
            }
            if verdict == Verdict::OPEN.to_bits() {
                verdict = pod_open4(context, step);
            }
            if verdict == Verdict::ROUTE.to_bits() {
                verdict = pod_route4(step);
            }
            verdict
        }),
        ethertype::IPV6 => run!(context, Hook::PodIngress, V6, act6, answer6, step => {
            let mut verdict = pod_known6(context, step);
            if verdict == Verdict::ERROR.to_bits() {
                verdict = error6(context, Hook::PodIngress as u32, 0, step);
            }
            if verdict == Verdict::OPEN.to_bits() {
                verdict = pod_open6(context, step);
            }
            if verdict == Verdict::ROUTE.to_bits() {
                verdict = pod_route6(step);
            }
            verdict
        }),
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
    decide(context, step, |_, tables, at, step| open_from_pod(tables, at, step))
}

/// New connections of IPv6 to Services.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_open6(context: *mut __sk_buff, step: *mut Step<V6>) -> u64 {
    decide(context, step, |_, tables, at, step| open_from_pod(tables, at, step))
}

/// New connections of IPv4 to no Service.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_route4(step: *mut Step<V4>) -> u64 {
    route(step)
}

/// New connections of IPv6 to no Service.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pod_route6(step: *mut Step<V6>) -> u64 {
    route(step)
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
    let skb = Skb::reached(context);
    let at = skb.at(Hook::PodIngress);
    function(&skb, &KernelTables, at, step).to_bits()
}

#[inline(always)]
fn route<F: Net>(step: *mut Step<F>) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: as above.
    let Some(step) = (unsafe { step.as_mut() }) else { return Verdict::PASS.to_bits() };
    route_from_pod(&KernelTables, step).to_bits()
}
