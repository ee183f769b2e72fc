//! What the programs report, when they are asked to.

use skep_abi::{Hook, Reason, V4, V6, addr_to_v6_words, config_flags, event_kind, via};
use skep_bpf::Program;
use skep_packets_tests::{
    frame::{Frame, flags},
    kernel::{InTables, KernelNode},
    world::{Front, POD_A, World},
};

/// Runs a packet that opens a connection and one that nobody serves.
fn play<F: InTables>(node: &KernelNode, asked: u32) {
    let front = Front::tcp(F::service(1), 80);
    let world = World::<F>::new()
        .service(front, &[(F::pod_b(), 8080, via::POD)])
        .rejecting(F::service(1))
        .config_flag(asked);
    node.set(&world).expect("the tables can be written");
    for port in [80, 81] {
        let syn = Frame::<F>::tcp((F::pod_a(), 4000), (F::service(1), port), flags::SYN);
        node.run(Program::PodIngress, POD_A, &syn.bytes()).expect("runs");
    }
}

fn both_are_reported<F: InTables>() {
    let node = KernelNode::new().expect("a node of its own");
    let mut events = node.datapath().tables().events().expect("the ring");
    play::<F>(&node, config_flags::DROP_EVENTS | config_flags::FLOW_EVENTS);
    let opened = events.take().expect("an event");
    assert_eq!((opened.kind, opened.version), (event_kind::FLOW, F::VERSION));
    assert_eq!((opened.service, opened.backend), (1, 1));
    let dropped = events.take().expect("another event");
    assert_eq!(dropped.kind, event_kind::DROP);
    assert_eq!(Reason::from_number(dropped.reason), Some(Reason::NoServicePort));
    assert_eq!(Hook::from_number(dropped.hook), Some(Hook::PodIngress));
    assert_eq!(dropped.src, addr_to_v6_words::<F>(&F::pod_a()));
    assert_eq!(dropped.dst, addr_to_v6_words::<F>(&F::service(1)));
    assert_eq!(u16::from_be(dropped.dport_be), 81);
    assert_eq!(dropped.ifindex, POD_A);
    assert!(events.take().is_none());
}

#[test]
fn opened_connections_and_rejections_are_reported() {
    both_are_reported::<V4>();
}

#[test]
fn opened_connections_and_rejections_are_reported_for_ipv6() {
    both_are_reported::<V6>();
}

#[test]
fn nothing_is_reported_that_nobody_asked_for() {
    let node = KernelNode::new().expect("a node of its own");
    let mut events = node.datapath().tables().events().expect("the ring");
    play::<V4>(&node, 0);
    assert!(events.take().is_none());
}
