//! Equal parts of one address range, each held by at most one node.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

/// A cluster range that cannot be cut up as asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangesError {
    /// The parts would be larger than the whole, or too many to count.
    #[error("--node-cidr-mask-size {prefix} does not cut --cluster-cidr {net} into parts (between {from} and {to})",
        from = net.prefix_len(), to = (net.prefix_len() + MOST_BITS).min(net.max_prefix_len()))]
    Prefix {
        /// The cluster's range.
        net: IpNet,
        /// The prefix length asked for.
        prefix: u8,
    },
}

/// At most 2^16 nodes.
const MOST_BITS: u8 = 16;

/// The parts of one range.
#[derive(Debug)]
pub(super) struct Ranges {
    net: IpNet,
    prefix: u8,
    taken: BTreeMap<u32, String>,
    held: HashMap<String, u32>,
    next: u32,
}

impl Ranges {
    pub(super) fn new(net: IpNet, prefix: u8) -> Result<Self, RangesError> {
        let net = net.trunc();
        let fits = prefix >= net.prefix_len()
            && prefix <= net.max_prefix_len()
            && prefix - net.prefix_len() <= MOST_BITS;
        if !fits {
            return Err(RangesError::Prefix { net, prefix });
        }
        Ok(Self { net, prefix, taken: BTreeMap::new(), held: HashMap::new(), next: 0 })
    }

    fn count(&self) -> u32 {
        1 << (self.prefix - self.net.prefix_len())
    }

    /// The node's part: the one it holds, or the next free one. Parts that have just been freed
    /// come last.
    pub(super) fn allocate(&mut self, node: &str) -> Option<IpNet> {
        if let Some(index) = self.held.get(node) {
            return Some(self.part(*index));
        }
        let count = self.count();
        let order = (0..count).map(|step| (self.next + step) % count);
        let index = { order }.find(|index| !self.taken.contains_key(index))?;
        self.next = (index + 1) % count;
        self.taken.insert(index, node.into());
        self.held.insert(node.into(), index);
        Some(self.part(index))
    }

    /// Notes that a node has a part already. What lies outside, or spans several, is not ours.
    pub(super) fn occupy(&mut self, node: &str, net: IpNet) {
        if !self.net.contains(&net) || net.prefix_len() != self.prefix {
            return;
        }
        let shift = u32::from(net.max_prefix_len() - self.prefix);
        let offset = bits(net.network()) - bits(self.net.network());
        let Ok(index) = u32::try_from(offset >> shift) else { return };
        self.taken.insert(index, node.into());
        self.held.insert(node.into(), index);
        self.next = self.next.max((index + 1) % self.count());
    }

    /// Frees what the node holds.
    pub(super) fn release(&mut self, node: &str) {
        if let Some(index) = self.held.remove(node)
            && self.taken.get(&index).is_some_and(|holder| holder == node)
        {
            self.taken.remove(&index);
        }
    }

    fn part(&self, index: u32) -> IpNet {
        let shift = u32::from(self.net.max_prefix_len() - self.prefix);
        // A part of size one in a range of all addresses would shift by the full width.
        let offset = u128::from(index).checked_shl(shift).unwrap_or_default();
        let first = bits(self.net.network()) + offset;
        let address = match self.net {
            IpNet::V4(_) => {
                IpAddr::V4(u32::try_from(first).expect("a part lies in its range").into())
            }
            IpNet::V6(_) => IpAddr::V6(first.into()),
        };
        IpNet::new(address, self.prefix).expect("the prefix was checked against the family")
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The ranges a node already has.
pub(super) fn node_ranges(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let listed = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    let mut ranges: Vec<IpNet> = listed.filter_map(|text| text.parse().ok()).collect();
    ranges.dedup();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(net: &str, prefix: u8) -> Ranges {
        Ranges::new(net.parse().unwrap(), prefix).unwrap()
    }

    fn text(net: Option<IpNet>) -> String {
        net.map(|net| net.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_node_gets_its_own_part_and_keeps_it() {
        for (net, prefix, expected) in [
            ("10.244.0.0/16", 24, ["10.244.0.0/24", "10.244.1.0/24", "10.244.3.0/24"]),
            ("fd00::/48", 64, ["fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:3::/64"]),
        ] {
            let mut ranges = ranges(net, prefix);
            assert_eq!(text(ranges.allocate("a")), expected[0]);
            assert_eq!(text(ranges.allocate("b")), expected[1]);
            assert_eq!(text(ranges.allocate("a")), expected[0], "asked again");
            let third = ranges.allocate("c").unwrap();
            ranges.release("c");
            ranges.occupy("d", third);
            assert_eq!(text(ranges.allocate("e")), expected[2], "not what another has");
        }
    }

    #[test]
    fn a_full_range_gives_nothing_until_a_node_goes() {
        let mut ranges = ranges("10.0.0.0/30", 31);
        assert_eq!(text(ranges.allocate("a")), "10.0.0.0/31");
        assert_eq!(text(ranges.allocate("b")), "10.0.0.2/31");
        assert_eq!(ranges.allocate("c"), None);
        ranges.release("a");
        assert_eq!(text(ranges.allocate("c")), "10.0.0.0/31");
    }

    #[test]
    fn a_part_must_fit() {
        for (net, prefix) in [("10.0.0.0/16", 8), ("10.0.0.0/8", 25), ("10.0.0.0/24", 33)] {
            assert!(Ranges::new(net.parse().unwrap(), prefix).is_err(), "{net} {prefix}");
        }
    }
}
