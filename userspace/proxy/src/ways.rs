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
    /// Behind this device, by the kernel's routes.
    Device(u32),
}

/// All that is known about ways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    hosts: Vec<IpAddr>,
    /// Devices by prefix, under each length of prefixes, the longest first.
    routes: Vec<(u8, HashMap<IpNet, u32>)>,
}

impl Ways {
    /// On somebody else's pod network: the node's own addresses, and its routes with their devices.
    pub fn foreign(mut hosts: Vec<IpAddr>, routes: impl IntoIterator<Item = (IpNet, u32)>) -> Self {
        hosts.sort_unstable();
        let mut by_length: HashMap<u8, HashMap<IpNet, u32>> = HashMap::new();
        for (prefix, device) in routes {
            // The first of several is the one with the best metric: the kernel lists it first.
            let of_length = by_length.entry(prefix.prefix_len()).or_default();
            of_length.entry(prefix.trunc()).or_insert(device);
        }
        let mut routes: Vec<_> = by_length.into_iter().collect();
        routes.sort_unstable_by_key(|(length, _)| std::cmp::Reverse(*length));
        Self { hosts, routes }
    }

    /// How this address is reached.
    pub fn to(&self, address: IpAddr) -> Way {
        if self.hosts.binary_search(&address).is_ok() {
            return Way::Host;
        }
        let device = self.routes.iter().find_map(|(length, devices)| {
            let prefix = IpNet::new(address, *length).ok()?.trunc();
            devices.get(&prefix)
        });
        device.map_or(Way::Lookup, |device| Way::Device(*device))
    }
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
        let ways = Ways::foreign(vec!["192.0.2.1".parse().expect("address")], routes);
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
}
