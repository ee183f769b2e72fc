//! What comes in by a device of the node: TCX ingress.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::Hook;
use skep_packet::ethertype;

use crate::{
    act::{act4, act6},
    from_node, handover,
};

/// The program.
#[classifier]
pub fn node_ingress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    let Some(verdict) = handover::read(context) else {
        return from_node::run(context, Hook::NodeIngress);
    };
    // XDP translated it and could not send it.
    let (verdict, hook) = (verdict.to_bits(), Hook::NodeIngress as u32);
    // SAFETY: the context is valid while the program runs.
    match unsafe { (*context).protocol as u16 } {
        ethertype::IPV4 => act4(context, verdict, hook, core::ptr::null()),
        _ => act6(context, verdict, hook, core::ptr::null()),
    }
}
