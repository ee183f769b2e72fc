//! What the proxy must know about the node that it runs on.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::held::HeldPort;

/// The label with a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// This node, as far as Services depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LocalNode {
    /// Its name in the API.
    pub name: Box<str>,
    /// Its zone, if it is in one.
    pub zone: Option<Box<str>>,
    /// The addresses on which node ports are served, loopback apart.
    pub addresses: Vec<IpAddr>,
    /// How clients' addresses are treated.
    pub sources: Sources,
    /// All addresses of its devices, loopback and link-local ones apart.
    #[serde(default)]
    pub own: Vec<IpAddr>,
    /// Where Services' cluster addresses are from; of a family without any it is not known.
    #[serde(default)]
    pub service_ranges: Vec<IpNet>,
    /// Where pods' addresses are from, as far as it is known.
    #[serde(default)]
    pub pod_ranges: Vec<IpNet>,
    /// What its processes hold of its addresses.
    #[serde(default)]
    pub held: BTreeSet<HeldPort>,
}

/// What decides whether a backend sees its client's own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sources {
    /// The pod network is somebody else's: where a pod is cannot be told from its packets' way.
    pub foreign: bool,
    /// On such a network: it is known which addresses are this node's pods, and whoever has another one
    /// gets the node's address on the way to a cluster address.
    pub detects_local: bool,
    /// Every client of a cluster address gets the node's address.
    pub masquerade_all: bool,
    /// Packets from outside are answered by the backend's node, unless their Service says otherwise.
    pub dsr: bool,
}

/// The name of its file in the run folder.
const FILE: &str = "node.json";

impl LocalNode {
    /// What the proxy of this run folder takes the node for.
    ///
    /// # Errors
    /// When no proxy has written it.
    pub fn read(run_dir: &Path) -> std::io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(run_dir.join(FILE))?)?)
    }

    /// Leaves it for the tools, in one step.
    pub fn write(&self, run_dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(run_dir)?;
        let fresh = run_dir.join(format!("{FILE}.new"));
        std::fs::write(&fresh, serde_json::to_vec(self)?)?;
        std::fs::rename(fresh, run_dir.join(FILE))
    }

    /// Every address on which node ports are served. IPv6 has none on loopback, as upstream.
    pub fn node_port_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.addresses.iter().copied().filter(move |&a| a != loopback).chain([loopback])
    }
}
