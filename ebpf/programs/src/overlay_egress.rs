//! What the node's stack sends to pods of other nodes: TCX egress of the overlay device, which has to be
//! told where each packet goes.

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, macros::classifier, programs::TcContext};
use skep_abi::{Hook, Reason, V4, V6};
#[cfg(feature = "trace")]
use skep_engine::Verdict;
use skep_engine::{peer_of, stays_on_link};
use skep_packet::{Packet as _, ethertype, version};

use crate::{
    act::{NEXT, set_tunnel},
    count::count,
    skb::Skb,
    tables::{KernelTables, config, peer},
};

/// `TC_ACT_SHOT`.
const SHOT: i32 = 2;

/// The program.
#[classifier]
pub fn overlay_egress(context: TcContext) -> i32 {
    let skb = Skb::new(context.as_ptr().cast::<__sk_buff>());
    let (action, reason) = if is_for_neighbours(&skb) {
        // There is no link behind the overlay, and nothing is wrong about asking it.
        (SHOT, Reason::Passed)
    } else {
        match send(&skb) {
            Ok(()) => (NEXT, Reason::Forwarded),
            Err(reason) => (SHOT, reason),
        }
    };
    count(Hook::OverlayEgress, reason as u32, skb.len());
    action
}

#[inline(always)]
fn is_for_neighbours(skb: &Skb) -> bool {
    match version(skb) {
        Some(ethertype::IPV4) => stays_on_link::<V4>(skb),
        Some(ethertype::IPV6) => stays_on_link::<V6>(skb),
        _ => false,
    }
}

#[inline(always)]
fn send(skb: &Skb) -> Result<(), Reason> {
    let index = match version(skb) {
        Some(ethertype::IPV4) => peer_of::<V4, _>(skb, &KernelTables),
        Some(ethertype::IPV6) => peer_of::<V6, _>(skb, &KernelTables),
        _ => None,
    };
    #[cfg(feature = "trace")]
    match index {
        Some(index) => crate::trace::note_verdict(Verdict::to_peer(index).to_bits()),
        None => crate::trace::note_verdict(Verdict::drop(Reason::InvalidPeer).to_bits()),
    };
    let found = index.and_then(peer);
    let (Some(peer), Some(config)) = (found, config()) else { return Err(Reason::InvalidPeer) };
    set_tunnel(skb, peer, config.vni)
}
