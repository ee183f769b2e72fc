//! What comes out of the overlay: TCX ingress of the overlay device.

use aya_ebpf::{
    EbpfContext as _, bindings::__sk_buff, helpers::generated::bpf_skb_change_type,
    macros::classifier, programs::TcContext,
};
use skep_abi::Hook;

use crate::from_node;

/// The program.
#[classifier]
pub fn overlay_ingress(context: TcContext) -> i32 {
    let context = context.as_ptr().cast::<__sk_buff>();
    accept(context);
    from_node::run(context, Hook::OverlayIngress)
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
