//! What holds for any client, port and packet: translation there and back is the identity, and every
//! packet that leaves has the checksums of one that was built anew.

use proptest::prelude::*;
use skep_abi::{V4, V6, via};
use skep_bpf::Program;
use skep_packet::{host::HostPacket, parse};
use skep_packets_tests::{
    case::Fate,
    frame::{Frame, flags},
    host::HostNode,
    world::{Front, InConfig, NODE_PORT, POD_A, POD_B, SNAT_PORT, UPLINK, World},
};

/// Plays a packet that must be sent on as `out`.
fn sent<F: InConfig>(node: &HostNode<F>, at: (Program, u32), packet: &Frame<F>, out: &Frame<F>) {
    let (fate, bytes) = node.run(at.0, at.1, &packet.bytes());
    assert_eq!(fate, Fate::Redirect);
    assert_eq!(bytes, out.clone().hop().bytes());
}

/// A pod talks to a Service and hears from the address it named.
fn service_and_back<F: InConfig>(own: u16, port: u16, target: u16, tcp: bool) {
    let front = if tcp { Front::tcp(F::service(1), port) } else { Front::udp(F::service(1), port) };
    let node = HostNode::new(&World::<F>::new().service(front, &[(F::pod_b(), target, via::POD)]));
    let (a, b) = ((F::pod_a(), own), (F::pod_b(), target));
    let named = (F::service(1), port);
    let frame = |from, to, flags| {
        if tcp { Frame::tcp(from, to, flags) } else { Frame::udp(from, to) }
    };
    let from_a = (Program::PodIngress, POD_A);
    sent(&node, from_a, &frame(a, named, flags::SYN), &frame(a, b, flags::SYN));
    let from_b = (Program::PodIngress, POD_B);
    sent(&node, from_b, &frame(b, a, flags::SYN_ACK), &frame(named, a, flags::SYN_ACK));
}

/// Any client of the world reaches a pod of another node by a node port, and hears from the node.
fn node_port_and_back<F: InConfig>(client: (u8, u8), own: u16, target: u16) {
    let front = Front::tcp(F::node(), NODE_PORT);
    let world = World::<F>::new().service(front, &[(F::near_pod(), target, via::PEER)]);
    let node = HostNode::new(&world);
    let (client, front) = ((F::at(100 + client.0 % 100, client.1), own), (F::node(), NODE_PORT));
    let (near, snat) = ((F::near_pod(), target), (F::node(), SNAT_PORT));
    let at = (Program::NodeIngress, UPLINK);
    let frame = |from, to, flags| Frame::<F>::tcp(from, to, flags);
    sent(&node, at, &frame(client, front, flags::SYN), &frame(snat, near, flags::SYN));
    sent(&node, at, &frame(near, snat, flags::SYN_ACK), &frame(front, client, flags::SYN_ACK));
}

proptest! {
    #[test]
    fn a_pod_hears_from_the_service_it_named(
        own in 1..u16::MAX, port in 1..u16::MAX, target in 1..u16::MAX, tcp in any::<bool>(),
    ) {
        service_and_back::<V4>(own, port, target, tcp);
        service_and_back::<V6>(own, port, target, tcp);
    }

    #[test]
    fn a_client_hears_from_the_node_port_it_named(
        client in any::<(u8, u8)>(), own in 1..u16::MAX, target in 1..u16::MAX,
    ) {
        node_port_and_back::<V4>(client, own, target);
        node_port_and_back::<V6>(client, own, target);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        let node4 = HostNode::new(&World::<V4>::new());
        let node6 = HostNode::new(&World::<V6>::new());
        for program in [Program::PodIngress, Program::NodeIngress, Program::Xdp, Program::PodEgress] {
            node4.run(program, POD_A, &bytes);
            node6.run(program, POD_A, &bytes);
        }
        let packet = HostPacket(bytes);
        if let Some(headers) = parse::<V4>(&packet) {
            prop_assert!(headers.l4 >= 34 && headers.l4 <= 74);
        }
    }
}
