//! Addresses that are nobody's in a cluster: a Service that named one would take what a node, a link or
//! everybody means by it.

use std::net::IpAddr;

/// What such an address is; `None` for one that a Service or an endpoint may have. An API server that is
/// upstream's lets none through (`ValidateEndpointIP`), but for those that it took long ago.
pub fn special(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(address) if address.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(address) if address.is_link_local() => Some("a link-local address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some("an IPv4 address in the form of IPv6")
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_nobodys_are_told() {
        for (address, is_special) in [
            ("0.0.0.0", true),
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("169.254.169.254", true),
            ("224.0.0.251", true),
            ("255.255.255.255", true),
            ("10.96.0.1", false),
            ("192.0.2.1", false),
            ("::", true),
            ("::1", true),
            ("fe80::1", true),
            ("ff02::1", true),
            ("::ffff:192.0.2.1", true),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            let told = special(address.parse().expect("address"));
            assert_eq!(told.is_some(), is_special, "{address}: {told:?}");
        }
    }
}
