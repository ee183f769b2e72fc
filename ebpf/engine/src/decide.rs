//! Which function follows which: all that a hook's program does with a packet, on the host.

use skep_abi::Hook;
use skep_packet::Packet;

use crate::{
    Ingress, Net, SNAT_ROUNDS, Tables, Verdict, from_node, from_peer, from_pod, open_from_node,
    open_from_pod, route_from_pod, to_node, to_pod,
};

/// The verdict of a hook's program on a packet, which is changed along. Nothing for hooks that decide
/// on no packet.
pub fn decide<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    mut at: Ingress,
) -> Option<Verdict> {
    Some(match at.hook {
        Hook::PodIngress => {
            let mut verdict = from_pod(packet, tables, at);
            if verdict == Verdict::OPEN {
                verdict = in_rounds(|round| open_from_pod(packet, tables, at, round));
            }
            if verdict == Verdict::ROUTE {
                verdict = in_rounds(|round| route_from_pod(packet, tables, at, round));
            }
            verdict
        }
        Hook::Xdp | Hook::NodeIngress | Hook::OverlayIngress => {
            let mut verdict = from_node(packet, tables, at);
            if verdict == Verdict::UNWRAP {
                at.from_peer = true;
                verdict = from_peer(packet, tables, at).unwrap_or(Verdict::PASS);
            }
            if verdict == Verdict::OPEN {
                verdict = in_rounds(|round| open_from_node(packet, tables, at, round));
            }
            verdict
        }
        Hook::PodEgress => to_pod(packet, tables),
        Hook::NodeEgress => to_node(packet, tables),
        Hook::OverlayEgress | Hook::Connect | Hook::Sendmsg => return None,
    })
}

/// Asks for rounds until one finds a port for a translated source.
fn in_rounds(mut ask: impl FnMut(u32) -> Verdict) -> Verdict {
    (0..SNAT_ROUNDS)
        .map(&mut ask)
        .find(|verdict| *verdict != Verdict::NO_PORT)
        .unwrap_or(Verdict::NO_PORT)
}
