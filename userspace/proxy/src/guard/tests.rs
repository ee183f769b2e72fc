//! Tables of cases: which addresses and ports a Service gets, and what its owner is told.

use std::net::SocketAddr;

use super::*;
use crate::frontend::{BackendState, Protocol, Scope, SourceAddress, WhenEmpty};

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn node() -> LocalNode {
    LocalNode {
        name: "a".into(),
        own: vec![address("192.0.2.10"), address("2001:db8::10")],
        addresses: vec![address("192.0.2.10")],
        service_ranges: vec!["10.96.0.0/16".parse().expect("range")],
        pod_ranges: vec!["10.244.0.0/16".parse().expect("range")],
        ..LocalNode::default()
    }
}

/// One port with these front ends, and a backend for each number.
fn port(kind: Kind, at: &[(&str, u16)], backends: std::ops::Range<u16>) -> PortTables {
    let frontend = Frontend {
        kind,
        set: 0,
        affinity_s: None,
        local_only: false,
        when_empty: WhenEmpty::Reject,
        source: SourceAddress::AsPlaced,
        ranged: false,
        dsr: false,
    };
    let key = |&(text, port): &(&str, u16)| FrontendKey {
        address: address(text),
        port,
        protocol: Protocol::Tcp,
        scope: Scope::Outside,
    };
    let backend = |port| Backend {
        address: SocketAddr::new(address("192.0.2.10"), port),
        state: BackendState::Active,
        local: true,
    };
    PortTables {
        name: "http".into(),
        family: Family::V4,
        sets: vec![backends.map(backend).collect()],
        frontends: at.iter().map(|at| (key(at), frontend)).collect(),
        source_ranges: Vec::new(),
        draining: Vec::new(),
    }
}

/// The front ends that are left, and what is told.
fn screen(node: &LocalNode, ports: Vec<PortTables>) -> (Vec<String>, Vec<Refusal>) {
    let mut guard = Guard::new(node);
    ports.into_iter().for_each(|port| guard.take(port));
    let (admitted, refusals) = guard.finish();
    let keys = admitted.iter().flat_map(|port| &port.frontends);
    (keys.map(|(key, _)| key.to_string()).collect(), refusals)
}

#[test]
fn an_address_that_is_somebody_elses_is_refused() {
    use Kind::{ClusterIp, ExternalIp, LoadBalancer, NodePort};
    for (kind, text, objection) in [
        (ClusterIp, "10.96.0.7", None),
        (ClusterIp, "10.97.0.7", Some("no address of the ranges of Services")),
        (ClusterIp, "192.0.2.10", Some("an address of the node")),
        (ClusterIp, "127.0.0.1", Some("a loopback address")),
        (ClusterIp, "0.0.0.0", Some("the unspecified address")),
        // No range of this family is known.
        (ClusterIp, "fd00::7", None),
        (ClusterIp, "2001:db8::10", Some("an address of the node")),
        (NodePort, "192.0.2.10", None),
        (NodePort, "127.0.0.1", None),
        (ExternalIp, "198.51.100.7", None),
        (ExternalIp, "192.0.2.10", None),
        (ExternalIp, "10.96.0.10", Some("a cluster address, for one Service alone")),
        (ExternalIp, "10.244.3.4", Some("an address of pods")),
        (ExternalIp, "127.0.0.1", Some("a loopback address")),
        (ExternalIp, "169.254.169.254", Some("a link-local address")),
        (ExternalIp, "224.0.0.1", Some("a multicast address")),
        (ExternalIp, "255.255.255.255", Some("the broadcast address")),
        (ExternalIp, "::ffff:192.0.2.10", Some("an IPv4 address in the form of IPv6")),
        (ExternalIp, "fe80::1", Some("a link-local address")),
        (LoadBalancer, "203.0.113.7", None),
        (LoadBalancer, "10.96.0.10", Some("a cluster address, for one Service alone")),
        (LoadBalancer, "10.244.3.4", Some("an address of pods")),
        (LoadBalancer, "::1", Some("a loopback address")),
    ] {
        let (left, refusals) = screen(&node(), vec![port(kind, &[(text, 80)], 1..3)]);
        assert_eq!(left.len(), usize::from(objection.is_none()), "{kind:?} {text}: {left:?}");
        let told = objection.map(|objection| {
            ("AddressRefused", format!("{text}: not served, since this is {objection}"))
        });
        assert_eq!(refusals, told.into_iter().collect::<Vec<_>>(), "{kind:?} {text}");
    }
}

#[test]
fn what_is_left_of_a_service_is_served() {
    let asked = [("127.0.0.1", 80), ("198.51.100.7", 80), ("127.0.0.2", 80), ("127.0.0.1", 81)];
    let (left, refusals) = screen(&node(), vec![port(Kind::ExternalIp, &asked, 1..3)]);
    assert_eq!(left, ["198.51.100.7:80/TCP"]);
    let note = "127.0.0.1 and 1 more: not served, since this is a loopback address".to_owned();
    assert_eq!(refusals, [("AddressRefused", note)]);
}

#[test]
fn a_port_that_a_process_holds_stays_its_own() {
    let held = |text, port| HeldPort { address: address(text), port, protocol: Protocol::Tcp };
    let mut node = node();
    node.held = [held("192.0.2.10", 30_080), held("192.0.2.10", 22)].into();
    let asked = [("192.0.2.10", 30_080), ("127.0.0.1", 30_080)];
    let (left, refusals) = screen(&node, vec![port(Kind::NodePort, &asked, 1..3)]);
    assert_eq!(left, ["127.0.0.1:30080/TCP"], "nobody listens there");
    let note = |port: u16| {
        format!("192.0.2.10:{port}/TCP: not served, since a process of the node listens there")
    };
    assert_eq!(refusals, [("PortInUse", note(30_080))]);

    let (left, refusals) = screen(&node, vec![port(Kind::ExternalIp, &[("192.0.2.10", 22)], 1..3)]);
    assert_eq!((left, refusals), (vec![], vec![("PortInUse", note(22))]));

    // The process is the Service's endpoint in the host's network.
    let own = vec![port(Kind::ExternalIp, &[("192.0.2.10", 22)], 20..30)];
    assert_eq!(screen(&node, own), (vec!["192.0.2.10:22/TCP".to_owned()], vec![]));
}

#[test]
fn endpoints_with_nobodys_address_are_told() {
    let node = node();
    let mut guard = Guard::new(&node);
    for text in ["127.0.0.1", "127.0.0.2", "10.244.0.1", "ff02::1"] {
        guard.refuse_endpoint(address(text));
    }
    let note = "127.0.0.1 and 1 more: not used as an endpoint, since this is a loopback address; ff02::1: not \
                used as an endpoint, since this is a multicast address";
    assert_eq!(guard.finish().1, [("EndpointRefused", note.to_owned())]);
}

#[test]
fn a_service_fills_no_more_than_its_part_of_the_tables() {
    let addresses: Vec<String> =
        (0..=MAX_FRONTENDS).map(|n| format!("203.{}.{}.7", n >> 8, n & 255)).collect();
    let asked: Vec<_> = addresses.iter().map(|text| (text.as_str(), 80)).collect();
    let (left, refusals) = screen(&node(), vec![port(Kind::ExternalIp, &asked, 1..3)]);
    assert_eq!((left.len(), refusals.len()), (MAX_FRONTENDS, 1));
    let (reason, note) = &refusals[0];
    assert_eq!(*reason, "ServiceTooLarge");
    assert!(note.starts_with("0 of its ports and 1 more front ends are not served"), "{note}");

    // Nobody has more endpoints on a port than a large cluster has pods: a lone port is never refused.
    let large = || port(Kind::ExternalIp, &[("203.0.113.7", 80)], 0..u16::MAX);
    let (left, refusals) = screen(&node(), vec![large()]);
    assert_eq!((left.len(), refusals.len()), (1, 0));
    let small = || port(Kind::ExternalIp, &[("203.0.113.7", 81)], 1..3);
    let node = node();
    let mut guard = Guard::new(&node);
    guard.take(small());
    assert!(guard.has_room());
    guard.take(large());
    assert!(!guard.has_room());
    guard.leave_out(1);
    let (admitted, refusals) = guard.finish();
    assert_eq!((admitted.len(), refusals.len()), (1, 1));
}
