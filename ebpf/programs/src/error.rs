//! ICMP errors, at TC: the function that all programs share.

use aya_ebpf::bindings::__sk_buff;
use skep_abi::{Hook, V4, V6};
use skep_engine::{Ingress, Net, Step, Tables, Verdict, follow_error};

use crate::{skb::Skb, tables::KernelTables};

/// ICMP errors of IPv4; `from_peer` is 1 for what another node sent on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn error4(
    context: *mut __sk_buff,
    hook: u32,
    from_peer: u32,
    step: *mut Step<V4>,
) -> u64 {
    decide(context, hook, from_peer, step)
}

/// ICMP errors of IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn error6(
    context: *mut __sk_buff,
    hook: u32,
    from_peer: u32,
    step: *mut Step<V6>,
) -> u64 {
    decide(context, hook, from_peer, step)
}

#[inline(always)]
fn decide<F: Net>(context: *mut __sk_buff, hook: u32, from_peer: u32, step: *mut Step<F>) -> u64
where
    KernelTables: Tables<F>,
{
    // SAFETY: the callers hand in a reference.
    let (Some(step), Some(hook)) = (unsafe { step.as_mut() }, Hook::from_number(hook as u8)) else {
        return Verdict::PASS.to_bits();
    };
    let mut skb = Skb::new(context);
    let at = Ingress { from_peer: from_peer != 0, ..skb.at(hook) };
    follow_error(&mut skb, &KernelTables, at, step).to_bits()
}
