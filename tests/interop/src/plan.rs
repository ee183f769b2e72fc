//! Addresses of the worlds: the same in each, and inside of their namespaces only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::shape::Spot;
use crate::terms::{Address, Family, Sender};

/// The port of every Service, and of the balancer that stands outside.
pub(crate) const PORT: u16 = 80;
/// A port that no Service has.
pub(crate) const OTHER_PORT: u16 = 81;
/// The port of every endpoint.
pub(crate) const TARGET_PORT: u16 = 8080;
/// The first node port; a Service's number is added.
const NODE_PORTS: u16 = 30_000;
/// The first port of health checks; a Service's number is added.
const HEALTH_PORTS: u16 = 31_500;
/// Most Services of one world.
pub(crate) const MOST: usize = 1_200;

/// The host in the middle: default gateway, API server, and the load balancer that ends connections.
pub(crate) const GATEWAY: u16 = 1;
/// The sender outside.
pub(crate) const OUTSIDE: u16 = 2;
pub(crate) const NODE1: u16 = 0x10;
pub(crate) const NODE1_SECOND: u16 = 0x20;
pub(crate) const NODE2: u16 = 0x11;
/// A host that asks nothing.
pub(crate) const STRANGER: u16 = 0xf0;

/// Ranges that are routed to node1: of Services, external addresses and balancers' addresses.
pub(crate) fn routed_to_node1(family: Family) -> [&'static str; 3] {
    match family {
        Family::V4 => ["10.96.0.0/16", "198.18.0.0/16", "198.19.0.0/16"],
        Family::V6 => ["fd00:10:96::/112", "2001:db8:e::/64", "2001:db8:f::/64"],
    }
}

/// The range of addresses of balancers that end connections themselves.
pub(crate) fn proxy_range(family: Family) -> &'static str {
    match family {
        Family::V4 => "100.64.0.0/16",
        Family::V6 => "2001:db8:d::/64",
    }
}

/// The range of Services' addresses.
pub(crate) fn service_range(family: Family) -> &'static str {
    routed_to_node1(family)[0]
}

/// The range of all pods.
pub(crate) fn cluster_range(family: Family) -> &'static str {
    match family {
        Family::V4 => "10.244.0.0/16",
        Family::V6 => "fd00:10:244::/48",
    }
}

/// The range of a node's pods.
pub(crate) fn pod_range(node: u8, family: Family) -> String {
    match family {
        Family::V4 => format!("10.244.{node}.0/24"),
        Family::V6 => format!("fd00:10:244:{node}::/64"),
    }
}

/// An address of a node's pods: 1 is the node's own end.
pub(crate) fn pod(node: u8, number: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 244, node, number).into(),
        Family::V6 => {
            Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, number.into()).into()
        }
    }
}

/// An address on the switch.
pub(crate) fn host(number: u16, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, number.to_be_bytes()[1]).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into(),
    }
}

/// The address on the switch with its prefix length.
pub(crate) fn host_net(number: u16, family: Family) -> String {
    let bits = if family == Family::V4 { 24 } else { 64 };
    format!("{}/{bits}", host(number, family))
}

/// An address of the Service with this number, none of the node ports'.
pub(crate) fn service_address(number: u16, address: Address, family: Family) -> IpAddr {
    // The first addresses of the range are the cluster's own.
    let [high, low] = (number + 16).to_be_bytes();
    let v6 = |a, b, c| Ipv6Addr::new(a, b, c, 0, 0, 0, 0, number + 16).into();
    match (address, family) {
        (Address::External, Family::V4) => Ipv4Addr::new(198, 18, high, low).into(),
        (Address::External, Family::V6) => v6(0x2001, 0xdb8, 0xe),
        (Address::Balancer, Family::V4) => Ipv4Addr::new(198, 19, high, low).into(),
        (Address::Balancer, Family::V6) => v6(0x2001, 0xdb8, 0xf),
        (Address::BalancerProxy, Family::V4) => Ipv4Addr::new(100, 64, high, low).into(),
        (Address::BalancerProxy, Family::V6) => v6(0x2001, 0xdb8, 0xd),
        (_, Family::V4) => Ipv4Addr::new(10, 96, high, low).into(),
        (_, Family::V6) => v6(0xfd00, 0x10, 0x96),
    }
}

pub(crate) fn node_port(number: u16) -> u16 {
    NODE_PORTS + number
}

pub(crate) fn health_port(number: u16) -> u16 {
    HEALTH_PORTS + number
}

/// Where a packet to an address of the Service with this number is sent.
pub(crate) fn target(number: u16, address: Address, family: Family) -> SocketAddr {
    let loopback = match family {
        Family::V4 => IpAddr::from(Ipv4Addr::LOCALHOST),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    match address {
        Address::NodePort => (host(NODE1, family), node_port(number)).into(),
        Address::NodePortSecond => (host(NODE1_SECOND, family), node_port(number)).into(),
        Address::NodePortLoopback => (loopback, node_port(number)).into(),
        Address::ClusterOtherPort => (service_address(number, address, family), OTHER_PORT).into(),
        _ => (service_address(number, address, family), PORT).into(),
    }
}

/// The namespaces' short names.
pub(crate) fn namespace(sender: Sender) -> &'static str {
    match sender {
        Sender::Endpoint => "near",
        Sender::Pod => "client",
        Sender::Node => "node1",
        Sender::FarPod => "farclient",
        Sender::FarNode => "node2",
        Sender::Outside => "outside",
    }
}

/// The namespace in which an endpoint is.
pub(crate) fn endpoint_namespace(spot: Spot) -> &'static str {
    match spot {
        Spot::Near => "near",
        Spot::NearOther => "nearother",
        Spot::Far => "far",
        Spot::FarOther => "farother",
        Spot::NearHost => "node1",
        Spot::FarHost => "node2",
    }
}
