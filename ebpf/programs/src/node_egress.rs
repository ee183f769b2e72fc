//! What the node's stack sends out of one of its devices: TCX egress.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::to_node;
use skep_packet::{ethertype, version};

use crate::{
    act::{NEXT, act},
    skb::Skb,
    tables::KernelTables,
};

/// The program.
#[classifier]
pub fn node_egress(context: TcContext) -> i32 {
    let mut skb = Skb::new(context.as_ptr().cast::<__sk_buff>());
    let at = skb.at(Hook::NodeEgress);
    match version(&skb) {
        Some(ethertype::IPV4) => {
            let verdict = to_node::<V4, _>(&mut skb, &KernelTables);
            act::<V4>(&skb, verdict, at)
        }
        Some(ethertype::IPV6) => {
            let verdict = to_node::<V6, _>(&mut skb, &KernelTables);
            act::<V6>(&skb, verdict, at)
        }
        _ => NEXT,
    }
}
