//! What a Service may ask of a node: a wrong or hostile one must hurt only itself.
//!
//! kube-proxy programs what it is given, and leaves it to the API server to give nothing that takes an
//! address away from somebody. Here each address is looked at again, since an address in the tables is
//! taken from everybody on the node, and what one Service may fill of the tables is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;

use crate::frontend::{Backend, Family, Frontend, FrontendKey, Kind, PortTables};
use crate::held::HeldPort;
use crate::local_node::LocalNode;
use crate::special::special;

/// What is not served of a Service: the reason in a word, and a sentence.
pub type Refusal = (&'static str, String);

/// Ports of one Service that a node serves. A Service's ports are looked for in all of its slices, so the
/// work grows with their square.
pub const MAX_PORTS: usize = 1_024;
/// Front ends of one Service: an eighth of the smallest table.
pub const MAX_FRONTENDS: usize = 1 << 14;
/// Backends of one Service, an endpoint counted once for each port: half of the smallest table. A single
/// port may have more.
pub const MAX_BACKENDS: usize = 1 << 15;

/// Lets pass what a Service may ask for, and keeps a note of the rest.
#[derive(Debug)]
pub struct Guard<'a> {
    node: &'a LocalNode,
    admitted: Vec<PortTables>,
    frontends: usize,
    backends: usize,
    is_full: bool,
    /// Ports that found no room, and front ends of others.
    ports_left_out: usize,
    frontends_left_out: usize,
    addresses: BTreeMap<&'static str, BTreeSet<IpAddr>>,
    endpoints: BTreeMap<&'static str, BTreeSet<IpAddr>>,
    held: BTreeSet<HeldPort>,
}

impl<'a> Guard<'a> {
    /// Nothing asked for yet.
    pub fn new(node: &'a LocalNode) -> Self {
        Self {
            node,
            admitted: Vec::new(),
            frontends: 0,
            backends: 0,
            is_full: false,
            ports_left_out: 0,
            frontends_left_out: 0,
            addresses: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Notes an endpoint that is nobody's address.
    pub fn refuse_endpoint(&mut self, address: IpAddr) {
        if let Some(objection) = special(address) {
            self.endpoints.entry(objection).or_default().insert(address);
        }
    }

    /// Whether another port may find room.
    pub fn has_room(&self) -> bool {
        !self.is_full
    }

    /// Notes ports that are not served.
    pub fn leave_out(&mut self, ports: usize) {
        self.ports_left_out += ports;
    }

    /// Takes what one port asks for in one family, without what it may not have.
    pub fn take(&mut self, mut port: PortTables) {
        let asked = std::mem::take(&mut port.frontends).into_iter();
        port.frontends =
            asked.filter(|(key, frontend)| self.admits(key, frontend, &port.sets)).collect();
        let backends = port.sets.iter().map(Vec::len).sum::<usize>() + port.draining.len();
        let is_lone = self.admitted.is_empty();
        if !is_lone && self.backends + backends > MAX_BACKENDS {
            self.is_full = true;
            return;
        }
        let room = MAX_FRONTENDS - self.frontends;
        self.frontends_left_out += port.frontends.len().saturating_sub(room);
        port.frontends.truncate(room);
        if port.frontends.is_empty() {
            return;
        }
        self.frontends += port.frontends.len();
        self.backends += backends;
        self.admitted.push(port);
    }

    /// What may be served, and what may not be: one note for each reason, since the API server counts Events
    /// of one reason as one.
    pub fn finish(self) -> (Vec<PortTables>, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let mut note = |reason, notes: Vec<String>| {
            if !notes.is_empty() {
                refusals.push((reason, notes.join("; ")));
            }
        };
        let about = |(objection, all): (&&str, &BTreeSet<IpAddr>), not: &str| {
            format!("{}: not {not}, since this is {objection}", listed(all))
        };
        let addresses = self.addresses.iter().map(|found| about(found, "served"));
        note("AddressRefused", addresses.collect());
        let endpoints = self.endpoints.iter().map(|found| about(found, "used as an endpoint"));
        note("EndpointRefused", endpoints.collect());
        let held = Some(&self.held).filter(|held| !held.is_empty()).map(|held| {
            format!("{}: not served, since a process of the node listens there", listed(held))
        });
        note("PortInUse", held.into_iter().collect());
        note("ServiceTooLarge", self.too_large().into_iter().collect());
        (self.admitted, refusals)
    }

    fn too_large(&self) -> Option<String> {
        let (ports, frontends) = (self.ports_left_out, self.frontends_left_out);
        (ports + frontends > 0).then(|| {
            format!(
                "{ports} of its ports and {frontends} more front ends are not served: a node serves \
                 {MAX_PORTS} ports, {MAX_FRONTENDS} front ends and {MAX_BACKENDS} backends of a Service"
            )
        })
    }

    fn admits(&mut self, key: &FrontendKey, frontend: &Frontend, sets: &[Vec<Backend>]) -> bool {
        if let Some(objection) = objection(frontend.kind, key.address, self.node) {
            self.addresses.entry(objection).or_default().insert(key.address);
            return false;
        }
        let port = HeldPort::from(key);
        if self.node.held.contains(&port) && !is_own(&port, &sets[frontend.set]) {
            self.held.insert(port);
            return false;
        }
        true
    }
}

/// Whether the process that listens there is one of the Service's own endpoints: a pod of the host
/// network, behind a front end that has its port.
fn is_own(port: &HeldPort, set: &[Backend]) -> bool {
    set.iter()
        .any(|backend| (backend.address.ip(), backend.address.port()) == (port.address, port.port))
}

/// What such an address is, if a Service must not have it.
fn objection(kind: Kind, address: IpAddr, node: &LocalNode) -> Option<&'static str> {
    let of_family = |range: &&ipnet::IpNet| Family::of(range.addr()) == Family::of(address);
    let services = || node.service_ranges.iter().filter(of_family);
    let is_service = || services().any(|range| range.contains(&address));
    match kind {
        // The node's own: only those are asked for.
        Kind::NodePort => None,
        Kind::ClusterIp => special(address).or_else(|| {
            if node.own.contains(&address) {
                Some("an address of the node")
            } else if services().next().is_some() && !is_service() {
                Some("no address of the ranges of Services")
            } else {
                None
            }
        }),
        // One of the node's own may be: that is how nodes without a balancer offer Services.
        Kind::ExternalIp | Kind::LoadBalancer => special(address).or_else(|| {
            if is_service() {
                Some("a cluster address, for one Service alone")
            } else if node.pod_ranges.iter().any(|range| range.contains(&address)) {
                Some("an address of pods")
            } else {
                None
            }
        }),
    }
}

/// The first, and how many more.
fn listed<T: Display + Ord>(all: &BTreeSet<T>) -> String {
    let first = all.first().map(ToString::to_string).unwrap_or_default();
    match all.len() {
        0 | 1 => first,
        count => format!("{first} and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests;
