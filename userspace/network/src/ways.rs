//! Writes a [`Topology`]: the tables `peers` and `nodes`, and the kernel's routes.
//!
//! Only differences are written, against what is really there, so a restart changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use skep_abi::{Family, Node, NodeKey, Peer, V4, V6, peer_mode};
use skep_bpf::{FamilyTables, Tables};

use crate::error::Result;
use crate::netlink::{Netlink, Owner};
use crate::topology::{Prefix, Topology, Way};

/// Makes tables and routes what the topology says.
pub async fn apply(topology: &Topology, tables: &Tables, netlink: &Netlink) -> Result<()> {
    let indexes = write_peers(&topology.peers, tables)?;
    write_prefixes(&topology.prefixes, &indexes, &tables.v4)?;
    write_prefixes(&topology.prefixes, &indexes, &tables.v6)?;
    // Last: a prefix must not name a peer that is no more.
    clear_peers(&topology.peers, tables)?;
    let present: BTreeSet<_> = netlink.routes(Owner::Agent).await?.into_iter().collect();
    for route in topology.routes.difference(&present) {
        netlink.replace_route(route, Owner::Agent).await?;
    }
    let kept: BTreeSet<IpNet> = topology.routes.iter().map(|route| route.destination).collect();
    for route in present.difference(&topology.routes).filter(|r| !kept.contains(&r.destination)) {
        netlink.delete_route(route, Owner::Agent).await?;
    }
    Ok(())
}

/// The address between the nodes that a row of `peers` has.
pub fn peer_address(peer: &Peer) -> Option<IpAddr> {
    if peer.mode == peer_mode::NONE {
        None
    } else if peer.addr4 != [0; 1] {
        Some(V4::addr_to_ip(peer.addr4))
    } else {
        Some(V6::addr_to_ip(peer.addr6))
    }
}

/// Writes the rows of all peers; each keeps the index that it has.
fn write_peers(peers: &BTreeMap<IpAddr, Way>, tables: &Tables) -> Result<HashMap<IpAddr, u32>> {
    let present = tables.peers.entries()?;
    let mut indexes = HashMap::new();
    for (index, row) in &present {
        if let Some(address) = peer_address(row) {
            indexes.insert(address, *index);
        }
    }
    // Index 0 means "no peer".
    let mut free = present.iter().filter(|(index, row)| *index != 0 && row.mode == peer_mode::NONE);
    for (&address, &way) in peers {
        let row = peer_row(address, way);
        let index = match indexes.get(&address) {
            Some(&index) => index,
            None => match free.next() {
                Some((index, _)) => *index,
                None => {
                    let entries = tables.peers.capacity();
                    return Err(skep_bpf::Error::Full { table: "peers", entries }.into());
                }
            },
        };
        indexes.insert(address, index);
        if tables.peers.get(&index)? != Some(row) {
            tables.peers.insert(&index, &row)?;
        }
    }
    Ok(indexes)
}

fn clear_peers(peers: &BTreeMap<IpAddr, Way>, tables: &Tables) -> Result<()> {
    for (index, row) in tables.peers.entries()? {
        if peer_address(&row).is_some_and(|address| !peers.contains_key(&address)) {
            tables.peers.insert(&index, &Peer::default())?;
        }
    }
    Ok(())
}

fn peer_row(address: IpAddr, way: Way) -> Peer {
    let (mode, ifindex) = match way {
        Way::Direct(device) => (peer_mode::DIRECT, device),
        Way::Vxlan => (peer_mode::VXLAN, 0),
    };
    Peer {
        addr4: V4::addr_from_ip(address).unwrap_or_default(),
        addr6: V6::addr_from_ip(address).unwrap_or_default(),
        ifindex,
        mode,
        ..Peer::default()
    }
}

fn write_prefixes<F: Family>(
    prefixes: &BTreeMap<IpNet, Prefix>,
    indexes: &HashMap<IpAddr, u32>,
    tables: &FamilyTables<F>,
) -> Result<()> {
    let mut stale: Vec<(NodeKey<F>, Node)> = tables.nodes.entries()?;
    for (net, prefix) in prefixes {
        let Some(addr) = F::addr_from_ip(net.addr()) else { continue };
        let Some(&peer) = indexes.get(&prefix.peer) else { continue };
        let key = NodeKey { prefix_len: net.prefix_len().into(), addr };
        let value = Node { peer, is_host: prefix.is_host.into() };
        match stale.iter().position(|(present, _)| *present == key) {
            Some(at) if stale[at].1 == value => {
                stale.swap_remove(at);
            }
            found => {
                found.map(|at| stale.swap_remove(at));
                tables.nodes.insert(&key, &value)?;
            }
        }
    }
    for (key, _) in stale {
        tables.nodes.remove(&key)?;
    }
    Ok(())
}
