//! Which function follows which: all that a hook's program does with a packet, on the host.

use skep_abi::Hook;
use skep_packet::Packet;

use crate::{
    Ingress, Net, Step, Tables, Verdict, carry_out, follow_error, from_node, from_peer, from_pod,
    open_from_host, open_from_node, open_from_pod, read, route_from_pod, to_node, to_pod,
};

/// The verdict of a hook's program on a packet, which is changed along. Nothing for hooks that decide
/// on no packet.
pub fn decide<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    mut at: Ingress,
) -> Option<Verdict> {
    let step = &mut Step::default();
    if !read(packet, tables, step) {
        return Some(Verdict::of_malformed(at.hook));
    }
    let mut verdict = match at.hook {
        Hook::PodIngress => from_pod(packet, tables, at, step),
        Hook::Xdp | Hook::NodeIngress | Hook::OverlayIngress => from_node(packet, tables, at, step),
        Hook::PodEgress => to_pod(packet, tables, step),
        Hook::NodeEgress => to_node(packet, tables, at, step),
        Hook::OverlayEgress | Hook::Connect | Hook::Sendmsg => return None,
    };
    if verdict == Verdict::UNWRAP {
        at.from_peer = true;
        verdict = from_peer(packet, tables, at, step);
    }
    if verdict == Verdict::ERROR {
        verdict = follow_error(packet, tables, at, step);
    }
    if verdict == Verdict::OPEN {
        verdict = match at.hook {
            Hook::PodIngress => open_from_pod(tables, at, step),
            Hook::NodeEgress => open_from_host(tables, at, step),
            _ => open_from_node(tables, at, step),
        };
    }
    if verdict == Verdict::ROUTE {
        verdict = route_from_pod(tables, step);
    }
    Some(carry_out(packet, tables, step, verdict))
}
