//! Ports of the node's own addresses that its processes hold: a Service does not take them away.
//!
//! Who came first keeps a port. What a process listens on when a Service asks for it stays the process's
//! until it lets go; what a Service is served on stays the Service's, or anybody who may open a socket on a
//! node could end a node port there. (kube-proxy does not look: its rules win over a process that listens,
//! whichever came first.) skep's own listeners count as any process's: neither the kubelet's port nor the
//! health check of another Service is to be had by naming it as a node port.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use skep_network::listeners::Listener;

use crate::frontend::{FrontendKey, Protocol};

/// A port on one of the node's own addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldPort {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for HeldPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)
    }
}

impl From<&FrontendKey> for HeldPort {
    fn from(key: &FrontendKey) -> Self {
        Self { address: key.address, port: key.port, protocol: key.protocol }
    }
}

/// Which of the node's ports processes hold now. `before`: those they held when somebody last looked;
/// `is_served`: whether a Service is served there.
pub fn held(
    before: &BTreeSet<HeldPort>,
    listeners: &[Listener],
    addresses: &[IpAddr],
    is_served: impl Fn(&HeldPort) -> bool,
) -> BTreeSet<HeldPort> {
    let on = |listener: &Listener| {
        let (listener, protocol) = (*listener, Protocol::from_number(listener.protocol));
        let taken = addresses.iter().filter(move |address| listener.takes(**address));
        let port = move |&address: &IpAddr| {
            Some(HeldPort { address, port: listener.port, protocol: protocol? })
        };
        taken.filter_map(port)
    };
    let all = listeners.iter().flat_map(on);
    all.filter(|port| before.contains(port) || !is_served(port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    fn port(text: &str, port: u16, protocol: Protocol) -> HeldPort {
        HeldPort { address: address(text), port, protocol }
    }

    fn listener(protocol: Protocol, text: &str, port: u16) -> Listener {
        let address = address(text);
        let dual = address.is_ipv6() && address.is_unspecified();
        Listener { protocol: protocol.number(), address, port, dual }
    }

    #[test]
    fn who_came_first_keeps_a_port() {
        let addresses = ["192.0.2.10", "127.0.0.1"].map(address);
        let at = |text| port(text, 30_080, Protocol::Tcp);
        let (node, loopback) = (at("192.0.2.10"), at("127.0.0.1"));
        let everywhere = [listener(Protocol::Tcp, "::", 30_080)];
        let here = [listener(Protocol::Tcp, "127.0.0.1", 30_080)];
        type Case<'a> = (&'a str, &'a [HeldPort], &'a [Listener], &'a [HeldPort], &'a [HeldPort]);
        // (name, held before, listeners, served, held)
        let cases: [Case<'_>; 7] = [
            ("nobody listens", &[], &[], &[], &[]),
            ("a process is there first", &[], &everywhere, &[], &[loopback, node]),
            ("on one address only", &[], &here, &[], &[loopback]),
            ("a Service is there first", &[], &everywhere, &[node, loopback], &[]),
            ("on one address only", &[], &everywhere, &[loopback], &[node]),
            ("a process stays", &[node], &everywhere, &[node, loopback], &[node]),
            ("a process lets go", &[node, loopback], &[], &[], &[]),
        ];
        for (name, before, listeners, served, expected) in cases {
            let before = before.iter().copied().collect();
            let found = held(&before, listeners, &addresses, |port| served.contains(port));
            assert_eq!(found, expected.iter().copied().collect(), "{name}");
        }
    }

    #[test]
    fn protocols_and_families_are_apart() {
        let addresses = ["192.0.2.10", "2001:db8::10"].map(address);
        let listeners = [
            listener(Protocol::Udp, "0.0.0.0", 53),
            listener(Protocol::Tcp, "2001:db8::10", 53),
            listener(Protocol::Tcp, "198.51.100.1", 53),
        ];
        let found = held(&BTreeSet::new(), &listeners, &addresses, |_| false);
        let expected =
            [port("192.0.2.10", 53, Protocol::Udp), port("2001:db8::10", 53, Protocol::Tcp)];
        assert_eq!(found, expected.into_iter().collect());
    }
}
