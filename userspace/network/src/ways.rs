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
use crate::topology::{Peering, Prefix, Topology, Way};

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

/// The addresses between the nodes that a row of `peers` has, that of IPv4 first.
pub fn peer_addresses(peer: &Peer) -> impl Iterator<Item = IpAddr> + use<> {
    let v4 = (peer.addr4 != [0; 1]).then(|| V4::addr_to_ip(peer.addr4));
    let v6 = (peer.addr6 != [0; 4]).then(|| V6::addr_to_ip(peer.addr6));
    let used = peer.mode != peer_mode::NONE;
    v4.into_iter().chain(v6).filter(move |_| used)
}

/// Writes the rows of all peers; each keeps the index that it has.
fn write_peers(peers: &BTreeMap<IpAddr, Peering>, tables: &Tables) -> Result<HashMap<IpAddr, u32>> {
    let present = tables.peers.entries()?;
    let mut indexes = HashMap::new();
    for (index, row) in &present {
        indexes.extend(peer_addresses(row).map(|address| (address, *index)));
    }
    // Index 0 means "no peer".
    let mut free = present.iter().filter(|(index, row)| *index != 0 && row.mode == peer_mode::NONE);
    for (&address, &peering) in peers {
        let row = peer_row(address, peering);
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

fn clear_peers(peers: &BTreeMap<IpAddr, Peering>, tables: &Tables) -> Result<()> {
    for (index, row) in tables.peers.entries()? {
        let is_known = peer_addresses(&row).any(|address| peers.contains_key(&address));
        if row.mode != peer_mode::NONE && !is_known {
            tables.peers.insert(&index, &Peer::default())?;
        }
    }
    Ok(())
}

fn peer_row(address: IpAddr, peering: Peering) -> Peer {
    let (mode, ifindex) = match peering.way {
        Way::Direct(device) => (peer_mode::DIRECT, device),
        Way::Vxlan => (peer_mode::VXLAN, 0),
    };
    Peer {
        addr4: of_family::<V4>(address, peering.other),
        addr6: of_family::<V6>(address, peering.other),
        ifindex,
        mode,
        ..Peer::default()
    }
}

fn of_family<F: Family>(first: IpAddr, other: Option<IpAddr>) -> F::Addr {
    let mut both = std::iter::once(first).chain(other);
    both.find_map(F::addr_from_ip).unwrap_or_default()
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
