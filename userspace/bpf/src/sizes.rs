//! How many entries each table has room for.

use skep_abi::{BACKENDS_PER_CHUNK, SLOTS_PER_CHUNK};

/// Entries per table; per family where the table exists per family.
///
/// Where nothing is said of it, memory follows the entries, and the size is a limit. A table that is already
/// pinned keeps the size or limit that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Front ends; a power of two. An IPv4 entry takes about 96 bytes, an IPv6 entry 128; the 16 bytes
    /// of each one's place in the hash are taken at once.
    pub services: u32,
    /// Slots of all Services, of both families: 4 bytes each, in chunks of 256 KiB.
    pub slots: u32,
    /// Backends: 16 or 32 bytes each, in chunks of 64 or 128 KiB.
    pub backends: u32,
    /// Flow entries; a connection takes two, or one and one in `snat`. Of each its place in the hash, 16 bytes,
    /// is taken at once.
    pub flows: u32,
    /// Flow entries of connections that are not answered yet (taken at once).
    pub embryos: u32,
    /// Clients with affinity (taken at once).
    pub sources: u32,
    /// Addresses on this node.
    pub endpoints: u32,
    /// Other nodes (taken at once).
    pub peers: u32,
    /// Prefixes of other nodes: the ranges of their pods, and their addresses.
    pub nodes: u32,
    /// Sockets that were translated (taken at once).
    pub sockets: u32,
    /// Packets that come in pieces (taken at once).
    pub fragments: u32,
    /// Ranges of clients that Services allow.
    pub ranges: u32,
    /// Bytes of the ring of events; a power of two.
    pub event_bytes: u32,
}

/// Smallest and largest number of flow entries.
const FLOWS: (u64, u64) = (1 << 16, 1 << 22);
/// Smallest and largest limit of backends.
const BACKENDS: (u64, u64) = (1 << 16, 1 << 20);
/// Smallest and largest limit of slots.
const SLOTS: (u64, u64) = (1 << 20, 1 << 28);
/// Smallest and largest limit of front ends. 10,000 Services of type NodePort on a node with four addresses
/// fit the smallest, 100,000 with a cluster address each the fourfold of it.
const SERVICES: (u64, u64) = (1 << 17, 1 << 20);
/// A cluster of the size that Kubernetes is tested to has 5,000 nodes.
const PEERS: u32 = 1 << 13;
/// In each family, of a node: the range of its pods and up to five addresses.
const PREFIXES: u32 = 1 << 15;

impl Sizes {
    /// Sizes for a node with that much memory: room for flows up to 5 % of it, and for Services up to as much.
    ///
    /// What is taken at once is 1.6 to 3 % of it. Most of that are the places of flows: 16 bytes for each
    /// entry, up to the next power of two, in four tables.
    pub fn for_memory(bytes: u64) -> Self {
        // An entry of `flows6` with its bookkeeping takes about 160 bytes.
        let flows = (bytes / 20 / 160).clamp(FLOWS.0, FLOWS.1) as u32;
        let embryos = (flows / 8).next_power_of_two().clamp(1 << 14, 1 << 17);
        // 0.1 % of the memory per family for places, 0.6 % when all are taken.
        let services = (bytes >> 14).clamp(SERVICES.0, SERVICES.1) as u32;
        // Whatever else there is to a power of two would be paid for and not used.
        let services = 1 << services.ilog2();
        Self {
            services,
            slots: (bytes >> 7).clamp(SLOTS.0, SLOTS.1) as u32,
            backends: (bytes >> 14).clamp(BACKENDS.0, BACKENDS.1) as u32,
            flows,
            embryos,
            sources: embryos,
            endpoints: 1 << 12,
            peers: PEERS,
            nodes: PREFIXES,
            sockets: embryos,
            fragments: embryos / 8,
            ranges: services,
            event_bytes: 1 << 18,
        }
    }

    /// Sizes for this machine.
    pub fn for_this_machine() -> Self {
        // The first line of /proc/meminfo, in KiB.
        let kib = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
        Self::for_memory(kib.unwrap_or(0).saturating_mul(1024))
    }

    /// The entries of the map with this name, where they are set at all.
    pub(crate) fn entries(&self, map: &str) -> Option<u32> {
        Some(match map.trim_end_matches(['4', '6']) {
            "services" => self.services,
            "slot_chunks" => self.slots / SLOTS_PER_CHUNK,
            "backend_chunks" => self.backends / BACKENDS_PER_CHUNK,
            "flows" | "snat" => self.flows,
            "embryos" => self.embryos,
            "sources" => self.sources,
            "endpoints" => self.endpoints,
            "nodes" => self.nodes,
            "peers" => self.peers,
            "next_hops" => self.peers * 2,
            "sockets" => self.sockets,
            "fragments" => self.fragments,
            "ranges" => self.ranges,
            "events" => self.event_bytes,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_memory_within_bounds() {
        let cases = [
            (0, 1 << 16, 1 << 17, 1 << 20),
            (4 << 30, 1_342_177, 1 << 18, 1 << 25),
            (6 << 30, 2_013_265, 1 << 18, 3 << 24),
            (1 << 40, 1 << 22, 1 << 20, 1 << 28),
        ];
        for (memory, flows, services, slots) in cases {
            let sizes = Sizes::for_memory(memory);
            assert_eq!((sizes.flows, sizes.services, sizes.slots), (flows, services, slots));
        }
    }

    #[test]
    fn large_clusters_fit() {
        // 10,000 Services of type NodePort: a cluster address in two scopes and the rest of its ports, and
        // the port on four addresses in two scopes and on loopback.
        let node_ports = 10_000 * (4 + 2 * 4 + 1);
        assert!(Sizes::for_memory(0).services >= node_ports);
        // 100,000 Services with a cluster address each.
        assert!(Sizes::for_memory(8 << 30).services >= 100_000 * 4);
        // 5,000 nodes of two families, with the range of their pods and five addresses in each.
        let sizes = Sizes::for_memory(0);
        assert!(sizes.peers > 5_000 && sizes.nodes >= 5_000 * 6);
    }
}
