//! What the node's stack sends to a pod: TCX egress of the host side of its veth pair.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, V4, V6};
use skep_engine::to_pod;
use skep_packet::{ethertype, version};

use crate::{
    act::{NEXT, act},
    skb::Skb,
    tables::KernelTables,
};

/// The program.
#[classifier]
pub fn pod_egress(context: TcContext) -> i32 {
    let mut skb = Skb::new(context.as_ptr().cast::<__sk_buff>());
    let at = skb.at(Hook::PodEgress);
    match version(&skb) {
        Some(ethertype::IPV4) => {
            let verdict = to_pod::<V4, _>(&mut skb, &KernelTables);
            act::<V4>(&skb, verdict, at)
        }
        Some(ethertype::IPV6) => {
            let verdict = to_pod::<V6, _>(&mut skb, &KernelTables);
            act::<V6>(&skb, verdict, at)
        }
        _ => NEXT,
    }
}
