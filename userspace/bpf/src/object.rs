//! The object that the build script made of ebpf/programs, and the proof that it speaks of the same
//! types as this binary.

use std::path::PathBuf;

use aya::EbpfLoader;
use skep_abi as abi;
use skep_abi::{V4, V6};

use crate::{
    chunks,
    error::{Error, Result},
    sys::MapInfo,
};

/// The object's bytes.
pub(crate) fn bytes() -> &'static [u8] {
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"))
}

/// The same programs, built to tell each look-up and to write nothing.
pub(crate) fn traced_bytes() -> &'static [u8] {
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traced.o"))
}

/// A loader without the kernel's own types, which our programs know nothing of: they would take some 30 MiB
/// for as long as it loads.
pub(crate) fn loader<'a>() -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    loader
}

/// A map as the object describes it.
pub(crate) struct MapLayout {
    pub(crate) name: String,
    kind: u32,
    key_size: u32,
    value_size: u32,
    /// Of chunks: all have one size.
    chunk_entries: Option<u32>,
}

impl MapLayout {
    /// Refuses a pinned map of another kind or layout.
    pub(crate) fn compare(&self, pinned: &MapInfo, path: PathBuf) -> Result<()> {
        let fields = [
            ("kind", pinned.kind, self.kind),
            ("a key of", pinned.key_size, self.key_size),
            ("a value of", pinned.value_size, self.value_size),
        ];
        let entries = self.chunk_entries.map(|entries| ("entries:", pinned.max_entries, entries));
        for (field, found, expected) in fields.into_iter().chain(entries) {
            if found != expected {
                let table = self.name.clone();
                return Err(Error::Layout { table, field, found, expected, path });
            }
        }
        Ok(())
    }
}

/// The maps that the object describes.
pub(crate) fn maps() -> Result<Vec<MapLayout>> {
    let object = aya_obj::Object::parse(bytes()).map_err(|error| Error::Abi(error.to_string()))?;
    let mut maps: Vec<_> = object
        .maps
        .into_iter()
        // Constants of the programs are maps to the kernel, but not tables.
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, map)| MapLayout {
            chunk_entries: is_chunk(&name).then(|| map.max_entries()),
            name,
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
        })
        .collect();
    maps.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(maps)
}

/// Whether a map is the first chunk of a table that grows.
fn is_chunk(map: &str) -> bool {
    chunks::ALL.iter().any(|name| name.table == map)
}

/// Key and value sizes of every table, as skep-abi has them.
fn expected() -> Vec<(&'static str, usize, usize)> {
    let index = size_of::<u32>();
    vec![
        ("services4", size_of::<abi::ServiceKey<V4>>(), size_of::<abi::Service>()),
        ("services6", size_of::<abi::ServiceKey<V6>>(), size_of::<abi::Service>()),
        ("backends4", index, size_of::<abi::Backend<V4>>()),
        ("backends6", index, size_of::<abi::Backend<V6>>()),
        ("sources4", size_of::<abi::AffinityKey<V4>>(), size_of::<abi::AffinityValue>()),
        ("sources6", size_of::<abi::AffinityKey<V6>>(), size_of::<abi::AffinityValue>()),
        ("flows4", size_of::<abi::FlowKey<V4>>(), size_of::<abi::Flow<V4>>()),
        ("flows6", size_of::<abi::FlowKey<V6>>(), size_of::<abi::Flow<V6>>()),
        ("embryos4", size_of::<abi::FlowKey<V4>>(), size_of::<abi::Flow<V4>>()),
        ("embryos6", size_of::<abi::FlowKey<V6>>(), size_of::<abi::Flow<V6>>()),
        ("snat4", size_of::<abi::FlowKey<V4>>(), size_of::<abi::Flow<V4>>()),
        ("snat6", size_of::<abi::FlowKey<V6>>(), size_of::<abi::Flow<V6>>()),
        ("endpoints4", size_of::<abi::EndpointKey<V4>>(), size_of::<abi::Endpoint>()),
        ("endpoints6", size_of::<abi::EndpointKey<V6>>(), size_of::<abi::Endpoint>()),
        ("nodes4", size_of::<abi::NodeKey<V4>>(), size_of::<abi::Node>()),
        ("nodes6", size_of::<abi::NodeKey<V6>>(), size_of::<abi::Node>()),
        ("sockets4", size_of::<abi::SocketKey<V4>>(), size_of::<abi::SocketPeer<V4>>()),
        ("sockets6", size_of::<abi::SocketKey<V6>>(), size_of::<abi::SocketPeer<V6>>()),
        ("ranges4", size_of::<abi::RangeKey<V4>>(), size_of::<u32>()),
        ("ranges6", size_of::<abi::RangeKey<V6>>(), size_of::<u32>()),
        ("fragments4", size_of::<abi::FragmentKey<V4>>(), size_of::<abi::FragmentPorts>()),
        ("fragments6", size_of::<abi::FragmentKey<V6>>(), size_of::<abi::FragmentPorts>()),
        ("slots", index, size_of::<abi::SlotBlock>()),
        ("slot_chunks", index, index),
        ("backend_chunks4", index, index),
        ("backend_chunks6", index, index),
        ("peers", index, size_of::<abi::Peer>()),
        ("next_hops", index, size_of::<abi::NextHop>()),
        ("config", index, size_of::<abi::Config>()),
        ("counters", index, size_of::<abi::Counter>()),
        ("listeners", index, size_of::<abi::Listeners>()),
        ("events", 0, 0),
    ]
}

/// Compares the object's maps with this binary's types.
pub(crate) fn check(maps: &[MapLayout]) -> Result<()> {
    let mut maps: Vec<_> = maps.iter().collect();
    for (name, key, value) in expected() {
        let Some(place) = maps.iter().position(|map| map.name == name) else {
            return Err(Error::Abi(format!("table {name} is not in the object")));
        };
        let map = maps.swap_remove(place);
        let found = (map.key_size as usize, map.value_size as usize);
        if found != (key, value) {
            return Err(Error::Abi(format!(
                "table {name} has keys and values of {found:?} bytes, expected {:?}",
                (key, value)
            )));
        }
    }
    match maps.first() {
        Some(map) => Err(Error::Abi(format!("table {} is unknown to this binary", map.name))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_and_this_binary_agree() {
        check(&maps().expect("the embedded object parses")).expect("built from one source");
    }

    #[test]
    fn table_names_fit_the_kernel() {
        for map in maps().expect("the embedded object parses") {
            assert!(map.name.len() <= 15 && !map.name.contains('.'), "{}", map.name);
        }
    }

    #[test]
    fn a_pinned_table_from_before_tables_grew_is_refused() {
        for map in maps().expect("the embedded object parses") {
            let pinned = MapInfo {
                kind: map.kind,
                key_size: map.key_size,
                value_size: map.value_size,
                max_entries: 1 << 20,
                ..MapInfo::default()
            };
            let refused = map.compare(&pinned, PathBuf::from("slots")).is_err();
            assert_eq!(refused, is_chunk(&map.name), "{}", map.name);
        }
    }
}
