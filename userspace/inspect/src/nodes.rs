//! `skep net nodes`: the tables `nodes4`, `nodes6` and `peers`.

use std::collections::HashMap;

use serde::Serialize;
use skep_abi::{Family, NO_PEER, Peer, peer_mode};
use skep_bpf::{FamilyTables, Tables};

use crate::output::Row;

/// A prefix and the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prefix {
    prefix: String,
    kind: &'static str,
    node: String,
    way: &'static str,
    peer: u32,
    ifindex: u32,
}

impl Row for Prefix {
    const COLUMNS: &'static [&'static str] = &["PREFIX", "KIND", "NODE", "WAY"];
    const WIDE_COLUMNS: &'static [&'static str] = &["PEER", "DEVICE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.prefix.clone(),
            self.kind.into(),
            self.node.clone(),
            self.way.into(),
            self.peer.to_string(),
            if self.ifindex == 0 { "-".into() } else { self.ifindex.to_string() },
        ]
    }
}

/// All prefixes of other nodes.
pub(crate) fn list(tables: &Tables) -> anyhow::Result<Vec<Prefix>> {
    let peers: HashMap<u32, Peer> = tables.peers.entries()?.into_iter().collect();
    let mut prefixes = of(&tables.v4, &peers)?;
    prefixes.extend(of(&tables.v6, &peers)?);
    prefixes.sort_by(|a, b| (&a.node, &a.prefix).cmp(&(&b.node, &b.prefix)));
    Ok(prefixes)
}

fn of<F: Family>(
    tables: &FamilyTables<F>,
    peers: &HashMap<u32, Peer>,
) -> anyhow::Result<Vec<Prefix>> {
    let prefix = |(key, node): (skep_abi::NodeKey<F>, skep_abi::Node)| {
        let peer = peers.get(&node.peer).copied().unwrap_or_default();
        let address = skep_network::ways::peer_addresses(&peer).next();
        Prefix {
            prefix: format!("{}/{}", F::addr_to_ip(key.addr), key.prefix_len),
            kind: if node.is_host == 1 { "node" } else { "pods" },
            node: address.map_or_else(|| "-".into(), |address| address.to_string()),
            way: match peer.mode {
                _ if node.peer == NO_PEER => "stack",
                peer_mode::DIRECT => "direct",
                peer_mode::VXLAN => "vxlan",
                _ => "none",
            },
            peer: node.peer,
            ifindex: peer.ifindex,
        }
    };
    Ok(tables.nodes.entries()?.into_iter().map(prefix).collect())
}
