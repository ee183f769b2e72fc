//! What the proxy must know about the node that it runs on.

use std::net::{IpAddr, Ipv4Addr};

/// The label with a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// This node, as far as Services depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalNode {
    /// Its name in the API.
    pub name: Box<str>,
    /// Its zone, if it is in one.
    pub zone: Option<Box<str>>,
    /// The addresses on which node ports are served, loopback apart.
    pub addresses: Vec<IpAddr>,
}

impl LocalNode {
    /// Every address on which node ports are served. IPv6 has none on loopback, as upstream.
    pub fn node_port_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.addresses.iter().copied().filter(move |&a| a != loopback).chain([loopback])
    }
}
