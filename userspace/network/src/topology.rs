//! From the cluster's nodes to the ways between them: peers, prefixes and kernel routes.
//!
//! Pure: takes what is known about this node and the others, returns everything that should be there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

use crate::netlink::{Address, Route};
use crate::pod;

/// How packets get to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Routing {
    /// Directly to nodes on a link of ours, encapsulated to all others.
    #[default]
    Auto,
    /// Always directly: the network in between knows the pod ranges.
    Direct,
    /// Always encapsulated.
    Vxlan,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteNode {
    /// Its name.
    pub name: String,
    /// Its own addresses, the preferred one of each family first.
    pub addresses: Vec<IpAddr>,
    /// The ranges of its pods.
    pub pod_ranges: Vec<IpNet>,
}

/// The addresses that a Node object reports, internal ones first.
pub fn node_addresses(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let of = |kind: &'static str| {
        let of_kind = addresses.clone().filter(move |address| address.type_ == kind);
        of_kind.filter_map(|address| address.address.parse().ok())
    };
    of("InternalIP").chain(of("ExternalIP")).collect()
}

/// The pod ranges that a Node object was given.
pub fn pod_ranges(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let several = spec.pod_cidrs.iter().flatten();
    let ranges: Vec<IpNet> = several.filter_map(|range| range.parse().ok()).collect();
    if ranges.is_empty() {
        spec.pod_cidr.iter().filter_map(|r| r.parse().ok()).collect()
    } else {
        ranges
    }
}

impl RemoteNode {
    /// Parses an object; `None` while it has no address.
    pub fn parse(node: &Node) -> Option<Self> {
        let addresses = node_addresses(node);
        (!addresses.is_empty()).then(|| Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            addresses,
            pod_ranges: pod_ranges(node),
        })
    }
}

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// All addresses of its devices.
    pub addresses: Vec<Address>,
    /// The device of the node's own address.
    pub uplink: u32,
    /// The VXLAN device.
    pub overlay: Option<u32>,
    /// The ranges of its own pods.
    pub pod_ranges: Vec<IpNet>,
    /// The operator's choice.
    pub routing: Routing,
}

/// The way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// By this device; the node itself is the next hop.
    Direct(u32),
    /// In VXLAN.
    Vxlan,
}

/// Another node, seen from this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peering {
    /// How packets get there.
    pub way: Way,
    /// Its address of the other family, which packets of that family need as their next hop; only of
    /// nodes that are reached directly.
    pub other: Option<IpAddr>,
}

/// What belongs to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Address between the nodes of the one that it belongs to.
    pub peer: IpAddr,
    /// Whether it is an address of the node itself.
    pub is_host: bool,
}

/// All ways between this node and the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// The other nodes by their address between the nodes.
    pub peers: BTreeMap<IpAddr, Peering>,
    /// Where each prefix is.
    pub prefixes: BTreeMap<IpNet, Prefix>,
    /// What the kernel needs for the node's own packets to pods of other nodes.
    pub routes: BTreeSet<Route>,
}

impl Topology {
    /// Whether any packet is encapsulated, so that pods must leave room for it.
    pub fn encapsulates(&self) -> bool {
        self.peers.values().any(|peering| peering.way == Way::Vxlan)
    }
}

/// Works out the ways to all nodes.
pub fn plan(local: &LocalNode, nodes: &[RemoteNode]) -> Topology {
    let mut topology = Topology::default();
    for node in nodes {
        let Some(&transport) = node.addresses.first() else { continue };
        let way = way(local, transport);
        topology.peers.insert(transport, Peering { way, other: other_hop(local, node, way) });
        for &address in &node.addresses {
            let prefix = Prefix { peer: transport, is_host: true };
            topology.prefixes.insert(pod::single(address), prefix);
        }
        for range in &node.pod_ranges {
            let prefix = Prefix { peer: transport, is_host: false };
            topology.prefixes.insert(range.trunc(), prefix);
            topology.routes.extend(route(local, node, range.trunc(), way));
        }
    }
    topology
}

fn way(local: &LocalNode, peer: IpAddr) -> Way {
    let on_link = local.addresses.iter().find(|address| {
        let host_only = address.address.prefix_len() == address.address.max_prefix_len();
        !host_only && address.address.contains(&peer) && Some(address.device) != local.overlay
    });
    match (local.routing, on_link, local.overlay) {
        (Routing::Auto | Routing::Direct, Some(address), _) => Way::Direct(address.device),
        (Routing::Auto | Routing::Vxlan, _, Some(_)) => Way::Vxlan,
        _ => Way::Direct(local.uplink),
    }
}

/// The next hop for packets of the family that the node's first address is not of.
fn other_hop(local: &LocalNode, node: &RemoteNode, direct: Way) -> Option<IpAddr> {
    let is_other = |address: &&IpAddr| address.is_ipv4() != node.addresses[0].is_ipv4();
    let other = *node.addresses.iter().find(is_other)?;
    (direct != Way::Vxlan && way(local, other) == direct).then_some(other)
}

/// The kernel's route to a range of another node's pods; `None` where none of its addresses is of the
/// range's family (direct), or nothing is to be added.
fn route(local: &LocalNode, node: &RemoteNode, range: IpNet, way: Way) -> Option<Route> {
    let same_family = |address: &IpAddr| address.is_ipv4() == range.addr().is_ipv4();
    match way {
        Way::Direct(device) => Some(Route {
            destination: range,
            device,
            gateway: Some(node.addresses.iter().copied().find(same_family)?),
            source: None,
        }),
        Way::Vxlan => {
            // With an address that the other side sends back through the tunnel.
            let own = local.pod_ranges.iter().find(|own| same_family(&own.addr()))?;
            Some(Route {
                destination: range,
                device: local.overlay?,
                gateway: Some(pod::gateway(range.addr())),
                source: crate::pool::node_address(*own),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(routing: Routing) -> LocalNode {
        let address = |device, text: &str| Address { device, address: text.parse().expect("net") };
        LocalNode {
            addresses: vec![
                address(1, "127.0.0.1/8"),
                address(2, "192.0.2.10/24"),
                address(9, "10.244.0.1/32"),
            ],
            uplink: 2,
            overlay: Some(9),
            pod_ranges: vec!["10.244.0.0/24".parse().expect("range")],
            routing,
        }
    }

    fn node(address: &str, range: &str) -> RemoteNode {
        RemoteNode {
            name: "b".into(),
            addresses: vec![address.parse().expect("address")],
            pod_ranges: vec![range.parse().expect("range")],
        }
    }

    #[test]
    fn the_way_follows_the_choice_and_the_link() {
        let near = node("192.0.2.11", "10.244.1.0/24");
        let far = node("198.51.100.7", "10.244.1.0/24");
        // (choice, node, way, next hop, source)
        let tunnel = (Way::Vxlan, "169.254.1.1", Some("10.244.0.1"));
        let cases = [
            (Routing::Auto, &near, (Way::Direct(2), "192.0.2.11", None)),
            (Routing::Auto, &far, tunnel),
            (Routing::Direct, &near, (Way::Direct(2), "192.0.2.11", None)),
            (Routing::Direct, &far, (Way::Direct(2), "198.51.100.7", None)),
            (Routing::Vxlan, &near, tunnel),
        ];
        for (routing, node, (way, gateway, source)) in cases {
            let topology = plan(&local(routing), std::slice::from_ref(node));
            assert_eq!(topology.peers[&node.addresses[0]].way, way, "{routing:?} {node:?}");
            let route = topology.routes.first().expect("a route");
            assert_eq!(route.gateway, gateway.parse().ok(), "{routing:?} {node:?}");
            assert_eq!(route.source, source.and_then(|s| s.parse().ok()), "{routing:?} {node:?}");
            assert_eq!(topology.encapsulates(), way == Way::Vxlan);
        }
    }

    #[test]
    fn packets_of_the_other_family_have_a_next_hop_of_their_own() {
        let mut near = node("192.0.2.11", "10.244.1.0/24");
        near.addresses.push("2001:db8::11".parse().expect("address"));
        // (choice, this node's prefix of the other family, next hop)
        let cases = [
            (Routing::Auto, "2001:db8::10/64", Some("2001:db8::11")),
            (Routing::Auto, "2001:db8:1::10/64", None),
            (Routing::Vxlan, "2001:db8::10/64", None),
        ];
        for (routing, own, hop) in cases {
            let mut local = local(routing);
            local.addresses.push(Address { device: 2, address: own.parse().expect("prefix") });
            let topology = plan(&local, std::slice::from_ref(&near));
            let other = topology.peers[&near.addresses[0]].other;
            assert_eq!(other, hop.and_then(|hop| hop.parse().ok()), "{routing:?} {own}");
        }
    }

    #[test]
    fn every_address_and_range_of_a_node_is_known() {
        let mut other = node("192.0.2.11", "10.244.1.7/24");
        other.addresses.push("203.0.113.5".parse().expect("address"));
        let topology = plan(&local(Routing::Auto), &[other]);
        let prefixes: Vec<_> =
            topology.prefixes.iter().map(|(net, p)| (net.to_string(), p.is_host)).collect();
        assert_eq!(
            prefixes,
            [
                ("10.244.1.0/24".to_owned(), false),
                ("192.0.2.11/32".to_owned(), true),
                ("203.0.113.5/32".to_owned(), true),
            ]
        );
    }

    #[test]
    fn objects_are_read_with_the_internal_address_first() {
        let object = serde_json::json!({
            "metadata": { "name": "b" },
            "spec": { "podCIDR": "10.244.1.0/24" },
            "status": { "addresses": [
                { "type": "Hostname", "address": "b" },
                { "type": "ExternalIP", "address": "203.0.113.5" },
                { "type": "InternalIP", "address": "192.0.2.11" },
            ] },
        });
        let node: Node = serde_json::from_value(object).expect("a Node");
        let node = RemoteNode::parse(&node).expect("addresses");
        let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.11", "203.0.113.5"]);
        assert_eq!(node.pod_ranges.len(), 1);
    }
}
