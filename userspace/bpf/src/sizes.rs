//! How many entries each table has room for.

/// Entries per table; per family where the table exists per family.
///
/// A table that is already pinned keeps the size it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Front ends.
    pub services: u32,
    /// Slots of all Services, of both families (4 bytes each, taken at once).
    pub slots: u32,
    /// Backends (16 or 32 bytes each, taken at once).
    pub backends: u32,
    /// Flow entries; a connection takes two, or one and one in `snat`.
    pub flows: u32,
    /// Flow entries of connections that are not answered yet (taken at once).
    pub embryos: u32,
    /// Clients with affinity (taken at once).
    pub sources: u32,
    /// Addresses on this node.
    pub endpoints: u32,
    /// Prefixes of other nodes, and other nodes.
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
/// Smallest and largest number of backends.
const BACKENDS: (u64, u64) = (1 << 16, 1 << 20);
/// Smallest and largest number of slots.
const SLOTS: (u64, u64) = (1 << 20, 1 << 26);

impl Sizes {
    /// Sizes for a node with that much memory: at most about 1 % of it in tables that are taken at once,
    /// and room for flows up to 5 %.
    pub fn for_memory(bytes: u64) -> Self {
        // An entry of `flows6` with its bookkeeping takes about 160 bytes.
        let flows = (bytes / 20 / 160).clamp(FLOWS.0, FLOWS.1) as u32;
        let embryos = (flows / 8).next_power_of_two().clamp(1 << 14, 1 << 17);
        Self {
            services: 1 << 17,
            slots: (bytes / 1024 * 3 / 4).clamp(SLOTS.0, SLOTS.1) as u32,
            backends: (bytes >> 17).clamp(BACKENDS.0, BACKENDS.1) as u32,
            flows,
            embryos,
            sources: embryos,
            endpoints: 1 << 12,
            nodes: 1 << 13,
            sockets: embryos,
            fragments: embryos / 8,
            ranges: 1 << 16,
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
            "slots" => self.slots / skep_abi::SLOTS_PER_BLOCK,
            "backends" => self.backends,
            "flows" | "snat" => self.flows,
            "embryos" => self.embryos,
            "sources" => self.sources,
            "endpoints" => self.endpoints,
            "nodes" | "peers" => self.nodes,
            "next_hops" => self.nodes * 2,
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
        let cases = [(0, 1 << 16), (4 << 30, 1_342_177), (1 << 40, 1 << 22)];
        for (memory, flows) in cases {
            assert_eq!(Sizes::for_memory(memory).flows, flows);
        }
    }
}
