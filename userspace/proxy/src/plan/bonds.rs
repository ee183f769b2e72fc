//! Which clients with affinity stay: those that are bound to what their port still leads to. It never asks
//! who they are; bonds are ended by port and backend, and found by walking `sources`.

use std::collections::{BTreeSet, HashSet};

use super::Planner;
use super::port::Port;
use crate::frontend::Family;

/// That clients of a port are bound to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bond {
    /// The port's service id.
    pub service: u32,
    /// Whether they came by a front end that only backends of this node serve: these bonds are apart.
    pub is_local: bool,
    /// The backend's id.
    pub backend: u32,
    /// The family of both.
    pub family: Family,
}

impl Planner {
    /// Forgets of what had been unbound that which a port leads to again.
    pub fn retain_unbound(&self, unbound: &mut Vec<Bond>) {
        let services: HashSet<u32> = unbound.iter().map(|bond| bond.service).collect();
        let ports = self.ports.values().flatten().filter(|port| services.contains(&port.id));
        let known: HashSet<Bond> = ports.flat_map(Port::bonds).collect();
        unbound.retain(|bond| !known.contains(bond));
    }

    /// Every port is known: ends the bonds found at the start that no port allows.
    pub(super) fn settle_bonds(&mut self) {
        let found = std::mem::take(&mut self.unclaimed_bonds);
        if !found.is_empty() {
            let known: BTreeSet<Bond> =
                self.ports.values().flatten().flat_map(Port::bonds).collect();
            self.unbound.extend(found.difference(&known));
        }
    }

    /// A port's clients must not come back to what it no longer leads to: others may, under that id.
    pub(super) fn unbind(&mut self, before: &Port, now: Option<&Port>) {
        let left: BTreeSet<Bond> = now.into_iter().flat_map(Port::bonds).collect();
        let ended: BTreeSet<Bond> = before.bonds().filter(|bond| !left.contains(bond)).collect();
        self.unbound.extend(ended);
    }
}
