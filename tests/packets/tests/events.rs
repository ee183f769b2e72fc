//! What the programs report, as long as somebody listens.

use std::time::Duration;

use skep_abi::{Hook, Reason, V4, V6, addr_to_v6_words, event_kind, via};
use skep_bpf::{Error, Events, Program, Wanted};
use skep_packets_tests::{
    frame::{Frame, flags},
    kernel::{InTables, KernelNode},
    world::{Front, POD_A, World},
};

/// Runs a packet that opens a connection and one that nobody serves.
fn play<F: InTables>(node: &KernelNode) {
    let front = Front::tcp(F::service(1), 80);
    let world =
        World::<F>::new().service(front, &[(F::pod_b(), 8080, via::POD)]).rejecting(F::service(1));
    node.set(&world).expect("the tables can be written");
    for port in [80, 81] {
        let syn = Frame::<F>::tcp((F::pod_a(), 4000), (F::service(1), port), flags::SYN);
        node.run(Program::PodIngress, POD_A, &syn.bytes()).expect("runs");
    }
}

const ALL: Wanted = Wanted { opened: true, dropped: true };
/// Longer than a test runs.
const LONG: Duration = Duration::from_secs(3600);

fn listen(node: &KernelNode) -> Events {
    node.datapath().tables().events().expect("nobody else listens")
}

fn both_are_reported<F: InTables>() {
    let node = KernelNode::new().expect("a node of its own");
    let mut events = listen(&node);
    events.renew(ALL, LONG).expect("renewed");
    play::<F>(&node);
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
    // (what is wanted, for how long, kinds of the events)
    let cases: [(Wanted, Duration, &[u8]); 4] = [
        (Wanted { opened: false, dropped: false }, LONG, &[]),
        (Wanted { opened: true, dropped: false }, LONG, &[event_kind::FLOW]),
        (Wanted { opened: false, dropped: true }, LONG, &[event_kind::DROP]),
        (ALL, Duration::ZERO, &[]),
    ];
    for (wanted, lease, kinds) in cases {
        let mut events = listen(&node);
        events.renew(wanted, lease).expect("renewed");
        play::<V4>(&node);
        let reported: Vec<u8> =
            std::iter::from_fn(|| events.take()).map(|event| event.kind).collect();
        assert_eq!(reported, kinds, "{wanted:?} for {lease:?}");
    }
}

#[test]
fn nothing_is_reported_after_the_listener() {
    let node = KernelNode::new().expect("a node of its own");
    let events = listen(&node);
    events.renew(ALL, LONG).expect("renewed");
    drop(events);
    play::<V4>(&node);
    assert!(listen(&node).take().is_none());
}

#[test]
fn a_listener_who_is_killed_leaves_nothing_switched_on() {
    let node = KernelNode::new().expect("a node of its own");
    let mut events = listen(&node);
    let lease = Duration::from_millis(200);
    events.renew(ALL, lease).expect("renewed");
    play::<V4>(&node);
    assert!(events.take().is_some(), "the lease is on");
    // As a kill does: nothing is put back.
    std::mem::forget(events);
    let over = skep_bpf::monotonic_ns() + lease.as_nanos() as u64;
    while skep_bpf::monotonic_ns() <= over {
        std::thread::yield_now();
    }
    let lost_and_reported =
        |node: &KernelNode| node.datapath().tables().counters.all().expect("read");
    let before = lost_and_reported(&node).len();
    play::<V4>(&node);
    assert_eq!(lost_and_reported(&node).len(), before, "no event was even tried");
}

#[test]
fn two_listeners_do_not_steal_from_each_other() {
    let node = KernelNode::new().expect("a node of its own");
    let first = listen(&node);
    let refused = node.datapath().tables().events().err().expect("refused");
    assert!(matches!(refused, Error::Listened), "{refused}");
    drop(first);
    drop(listen(&node));
}
