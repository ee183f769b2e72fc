//! How packets reach a backend: worked out once per backend instead of once per packet.
//!
//! Pure: what the kernel's tables and routes say comes in, [`Way`]s go out. A way that is not known is
//! left to the programs, which look for it themselves.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// How one address is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Unknown here: programs look the address up.
    #[default]
    Lookup,
    /// The node itself.
    Host,
    /// A pod of this node, behind this host side of its veth pair.
    Pod(u32),
    /// The other node with this index in `peers`.
    Peer(u32),
    /// Behind this device, by the kernel's routes.
    Device(u32),
}

/// All that is known about ways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// Of single addresses on this node.
    here: HashMap<IpAddr, Way>,
    /// Of prefixes, under each length, the longest first.
    prefixes: Vec<(u8, HashMap<IpNet, Way>)>,
}

impl Ways {
    /// On somebody else's pod network: the node's own addresses, and its routes with their devices.
    pub fn foreign(hosts: &[IpAddr], routes: impl IntoIterator<Item = (IpNet, u32)>) -> Self {
        let here = hosts.iter().map(|host| (*host, Way::Host)).collect();
        let routes = routes.into_iter().map(|(prefix, device)| (prefix, Way::Device(device)));
        Self { here, prefixes: by_length(routes) }
    }

    /// On skep's own: what is on this node, and the other nodes' prefixes.
    pub fn own(
        here: impl IntoIterator<Item = (IpAddr, Way)>,
        peers: impl IntoIterator<Item = (IpNet, u32)>,
    ) -> Self {
        let peers = peers.into_iter().map(|(prefix, peer)| (prefix, Way::Peer(peer)));
        Self { here: here.into_iter().collect(), prefixes: by_length(peers) }
    }

    /// How this address is reached.
    pub fn to(&self, address: IpAddr) -> Way {
        if let Some(way) = self.here.get(&address) {
            return *way;
        }
        let way = self.prefixes.iter().find_map(|(length, ways)| {
            let prefix = IpNet::new(address, *length).ok()?.trunc();
            ways.get(&prefix)
        });
        way.copied().unwrap_or_default()
    }
}

fn by_length(ways: impl Iterator<Item = (IpNet, Way)>) -> Vec<(u8, HashMap<IpNet, Way>)> {
    let mut by_length: HashMap<u8, HashMap<IpNet, Way>> = HashMap::new();
    for (prefix, way) in ways {
        // The first of several is the one with the best metric: the kernel lists it first.
        let of_length = by_length.entry(prefix.prefix_len()).or_default();
        of_length.entry(prefix.trunc()).or_insert(way);
    }
    let mut by_length: Vec<_> = by_length.into_iter().collect();
    by_length.sort_unstable_by_key(|(length, _)| std::cmp::Reverse(*length));
    by_length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_leads_there_and_own_addresses_stay_here() {
        let routes = [
            ("0.0.0.0/0", 2),
            ("10.244.2.0/24", 2),
            ("10.244.1.20/32", 7),
            ("10.244.0.0/16", 9),
            ("10.244.2.0/24", 8),
            ("fd00::/64", 3),
        ];
        let routes = routes.map(|(prefix, device)| (prefix.parse().expect("prefix"), device));
        let ways = Ways::foreign(&["192.0.2.1".parse().expect("address")], routes);
        for (address, way) in [
            ("192.0.2.1", Way::Host),
            ("10.244.1.20", Way::Device(7)),
            ("10.244.1.21", Way::Device(9)),
            ("10.244.2.1", Way::Device(2)),
            ("198.51.100.1", Way::Device(2)),
            ("fd00::5", Way::Device(3)),
            ("fd01::5", Way::Lookup),
        ] {
            assert_eq!(ways.to(address.parse().expect("address")), way, "{address}");
        }
        assert_eq!(Ways::default().to("10.0.0.1".parse().expect("address")), Way::Lookup);
    }

    #[test]
    fn pods_here_and_nodes_elsewhere_are_told_apart() {
        let address = |text: &str| text.parse::<IpAddr>().expect("address");
        let here = [(address("10.244.1.5"), Way::Pod(7)), (address("192.0.2.1"), Way::Host)];
        let peers = [("10.244.2.0/24", 1), ("192.0.2.2/32", 1), ("fd00:2::/64", 2)];
        let ways = Ways::own(here, peers.map(|(net, peer)| (net.parse().expect("prefix"), peer)));
        for (text, way) in [
            ("10.244.1.5", Way::Pod(7)),
            ("10.244.1.6", Way::Lookup),
            ("192.0.2.1", Way::Host),
            ("10.244.2.9", Way::Peer(1)),
            ("192.0.2.2", Way::Peer(1)),
            ("fd00:2::9", Way::Peer(2)),
            ("198.51.100.1", Way::Lookup),
        ] {
            assert_eq!(ways.to(address(text)), way, "{text}");
        }
    }
}
