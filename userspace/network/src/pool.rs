//! Which address of a pod range comes next.
//!
//! Addresses are handed out in a circle, so that one that was just given back stays unused for as long
//! as the range allows: connections to its last owner have died by then.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// The node's own address in a range: the first after the range's name.
pub fn node_address(range: IpNet) -> Option<IpAddr> {
    let mut hosts = range.hosts().filter(|address| *address != range.network());
    hosts.next().filter(|_| usable(range) > 0)
}

/// How many pods a range has room for; ranges beyond a million count as a million.
pub fn usable(range: IpNet) -> usize {
    let bits = range.max_prefix_len() - range.prefix_len();
    let all = 1_usize << bits.min(20);
    // The range's own name, the node's address and, in IPv4, the broadcast address.
    all.saturating_sub(if range.addr().is_ipv4() { 3 } else { 2 })
}

/// The first free address after `last` in a circle over the range; `None` when all are taken.
pub fn next_address(
    range: IpNet,
    last: Option<IpAddr>,
    taken: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let node = node_address(range)?;
    let room = usable(range);
    let name = range.network();
    let pods = || range.hosts().filter(move |&a| a != node && a != name).take(room);
    let free = |address: &IpAddr| !taken.contains(address);
    let after = last.filter(|last| range.contains(last));
    pods()
        .filter(|address| after.is_none_or(|last| *address > last))
        .find(free)
        .or_else(|| pods().find(free))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpNet {
        text.parse().expect("a range")
    }

    #[test]
    fn every_pod_address_is_handed_out_once_and_in_a_circle() {
        let range = range("10.244.3.0/29");
        let mut taken = BTreeSet::new();
        let mut last = None;
        let mut order = Vec::new();
        while let Some(address) = next_address(range, last, &taken) {
            taken.insert(address);
            last = Some(address);
            order.push(address.to_string());
        }
        assert_eq!(order, ["10.244.3.2", "10.244.3.3", "10.244.3.4", "10.244.3.5", "10.244.3.6"]);
        assert_eq!(order.len(), usable(range));

        let back: IpAddr = "10.244.3.3".parse().expect("address");
        taken.remove(&back);
        assert_eq!(next_address(range, last, &taken), Some(back));
    }

    #[test]
    fn a_returned_address_rests_while_others_are_free() {
        let taken = BTreeSet::new();
        let last = "10.244.3.2".parse().ok();
        let next = next_address(range("10.244.3.0/24"), last, &taken);
        assert_eq!(next, "10.244.3.3".parse().ok());
    }

    #[test]
    fn ranges_without_room_have_no_address() {
        for text in ["10.0.0.0/30", "10.0.0.0/31", "10.0.0.7/32", "fd00::1/128"] {
            let taken = node_address(range(text)).into_iter().collect();
            let mut all: BTreeSet<IpAddr> = taken;
            let mut count = 0;
            while let Some(address) = next_address(range(text), None, &all) {
                all.insert(address);
                count += 1;
            }
            assert_eq!(count, usable(range(text)), "{text}");
        }
    }

    #[test]
    fn ipv6_ranges_work_alike() {
        let range = range("fd00:1::/64");
        assert_eq!(node_address(range), "fd00:1::1".parse().ok());
        assert_eq!(next_address(range, None, &BTreeSet::new()), "fd00:1::2".parse().ok());
    }
}
