//! `skep net maps`: how full each table is.

use serde::Serialize;
use skep_abi::{Family, NO_BACKEND, peer_mode};
use skep_bpf::{FamilyTables, Tables};

use crate::output::Row;

/// A table's use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Map {
    name: String,
    entries: u64,
    capacity: u64,
}

impl Row for Map {
    const COLUMNS: &'static [&'static str] = &["TABLE", "ENTRIES", "CAPACITY", "USED"];

    fn cells(&self) -> Vec<String> {
        // For people: a lost fraction of a percent does no harm.
        let used = self.entries as f64 * 100.0 / self.capacity.max(1) as f64;
        vec![
            self.name.clone(),
            self.entries.to_string(),
            self.capacity.to_string(),
            format!("{used:.1}%"),
        ]
    }
}

/// All tables that fill up.
pub(crate) fn list(tables: &Tables) -> anyhow::Result<Vec<Map>> {
    let mut maps = of(&tables.v4)?;
    maps.extend(of(&tables.v6)?);
    let slots = tables.slots.read(0, tables.slots.capacity())?;
    maps.push(Map {
        name: "slots".into(),
        entries: slots.iter().filter(|slot| **slot != NO_BACKEND).count() as u64,
        capacity: tables.slots.capacity().into(),
    });
    let peers = tables.peers.entries()?;
    maps.push(Map {
        name: tables.peers.name().into(),
        entries: peers.iter().filter(|(_, peer)| peer.mode != peer_mode::NONE).count() as u64,
        capacity: tables.peers.capacity().into(),
    });
    Ok(maps)
}

fn of<F: Family>(tables: &FamilyTables<F>) -> anyhow::Result<Vec<Map>> {
    macro_rules! map {
        ($table:ident) => {
            Map {
                name: tables.$table.name().into(),
                entries: tables.$table.entries()?.len() as u64,
                capacity: tables.$table.capacity().into(),
            }
        };
    }
    let backends = Map {
        name: tables.backends.name().into(),
        entries: skep_proxy::rows::backends(tables)?.len() as u64,
        capacity: tables.backends.capacity().into(),
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
    ])
}

/// Entries of the tables of both families that share a name.
pub(crate) fn entries(maps: &[Map], name: &str) -> u64 {
    let of_name = |map: &&Map| map.name.trim_end_matches(['4', '6']) == name;
    maps.iter().filter(of_name).map(|map| map.entries).sum()
}
