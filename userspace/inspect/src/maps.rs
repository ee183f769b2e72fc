//! `skep net maps`: how full each table is, and what it takes.

use serde::Serialize;
use skep_abi::{Family, V4, V6, peer_mode};
use skep_bpf::{FamilyTables, Tables};

use crate::output::{self, Format, Row};

/// Backends of the Service port whose memory is told.
const BACKENDS: usize = 10;

/// A table's use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Map {
    name: String,
    entries: u64,
    /// Entries that it can take before it grows.
    size: u64,
    /// Entries that it may have.
    capacity: u64,
    bytes: u64,
}

impl Row for Map {
    const COLUMNS: &'static [&'static str] =
        &["TABLE", "ENTRIES", "SIZE", "LIMIT", "USED", "MEMORY"];

    fn cells(&self) -> Vec<String> {
        // For people: a lost fraction of a percent does no harm.
        let used = self.entries as f64 * 100.0 / self.capacity.max(1) as f64;
        vec![
            self.name.clone(),
            self.entries.to_string(),
            self.size.to_string(),
            self.capacity.to_string(),
            format!("{used:.1}%"),
            format!("{} KiB", self.bytes.div_ceil(1024)),
        ]
    }
}

/// The tables, and for people what a Service port takes of them.
pub(crate) fn print(tables: &Tables, format: Format) -> anyhow::Result<String> {
    let mut text = output::print(&list(tables)?, format)?;
    if matches!(format, Format::Table | Format::Wide) {
        let slots = skep_proxy::maglev::table_size(BACKENDS);
        text.push_str(&format!(
            "\nA Service port with {BACKENDS} backends takes {} bytes in IPv4, {} in IPv6, and {slots} slots \
             of 4 bytes.\nIts cluster address takes {} or {} bytes more, whatever the number of its ports.\n",
            skep_bpf::service_port_bytes::<V4>(BACKENDS),
            skep_bpf::service_port_bytes::<V6>(BACKENDS),
            2 * skep_bpf::frontend_bytes::<V4>(),
            2 * skep_bpf::frontend_bytes::<V6>(),
        ));
    }
    Ok(text)
}

/// All tables that fill up.
pub(crate) fn list(tables: &Tables) -> anyhow::Result<Vec<Map>> {
    let mut maps = of(&tables.v4)?;
    maps.extend(of(&tables.v6)?);
    maps.push(Map {
        name: "slots".into(),
        entries: tables.slots.used()?.into(),
        size: tables.slots.size()?.into(),
        capacity: tables.slots.limit().into(),
        bytes: tables.slots.bytes()?,
    });
    let peers = tables.peers.entries()?;
    maps.push(Map {
        name: tables.peers.name().into(),
        entries: peers.iter().filter(|(_, peer)| peer.mode != peer_mode::NONE).count() as u64,
        size: tables.peers.capacity().into(),
        capacity: tables.peers.capacity().into(),
        bytes: tables.peers.bytes()?,
    });
    Ok(maps)
}

fn of<F: Family>(tables: &FamilyTables<F>) -> anyhow::Result<Vec<Map>> {
    macro_rules! map {
        ($table:ident) => {
            Map {
                name: tables.$table.name().into(),
                entries: tables.$table.entries()?.len() as u64,
                size: tables.$table.capacity().into(),
                capacity: tables.$table.capacity().into(),
                bytes: tables.$table.bytes()?,
            }
        };
    }
    let backends = Map {
        name: tables.backends.name().into(),
        entries: skep_proxy::rows::backends(tables)?.len() as u64,
        size: tables.backends.size()?.into(),
        capacity: tables.backends.limit().into(),
        bytes: tables.backends.bytes()?,
    };
    Ok(vec![
        map!(services),
        backends,
        map!(sources),
        map!(flows),
        map!(embryos),
        map!(snat),
        map!(endpoints),
        map!(nodes),
        map!(sockets),
        map!(fragments),
        map!(ranges),
    ])
}

/// Entries of the tables of both families that share a name.
pub(crate) fn entries(maps: &[Map], name: &str) -> u64 {
    let of_name = |map: &&Map| map.name.trim_end_matches(['4', '6']) == name;
    maps.iter().filter(of_name).map(|map| map.entries).sum()
}
