//! A port of a Service as it is in the tables: ids and runs instead of addresses and sets. A large cluster
//! has ten thousand of them, with ten backends each: it is small.

use std::sync::Arc;

use ipnet::IpNet;
use skep_abi::{Service, service_flags};

use super::bonds::Bond;
use crate::arena::Run;
use crate::frontend::{
    BackendState, Family, Frontend, FrontendKey, Kind, PortTables, SourceAddress, WhenEmpty,
};
use crate::service::ServiceName;

/// A port of a Service in one family: what gets a service id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// The Service.
    pub service: ServiceName,
    /// The port's name.
    pub port: Arc<str>,
    /// The family.
    pub family: Family,
}

impl std::fmt::Display for PortKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.port {
            "" => write!(f, "{}", self.service),
            port => write!(f, "{}:{port}", self.service),
        }
    }
}

/// A backend that a port uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: u32,
    pub(super) state: BackendState,
}

/// A set of backends and where it lies in `slots`.
#[derive(Debug)]
pub(super) struct Set {
    /// In the order of their addresses.
    pub(super) members: Box<[Member]>,
    /// Nothing for an empty set, or when there is no room.
    pub(super) run: Option<Run>,
    /// Whether there was no room for all of it.
    pub(super) is_short: bool,
    /// Whether clients are bound to what is chosen from it: by front ends of the whole cluster, and by those
    /// that only backends of this node serve.
    pub(super) binds: [bool; 2],
}

impl Set {
    /// The backends that clients are bound to, and whether by front ends that only backends of this node
    /// serve.
    fn bound(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        let kinds = [false, true].into_iter().filter(|is_local| self.binds[usize::from(*is_local)]);
        kinds.flat_map(|is_local| self.members.iter().map(move |member| (member.id, is_local)))
    }
}

/// A port as it is in the tables.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) name: Arc<str>,
    pub(super) family: Family,
    pub(super) id: u32,
    pub(super) sets: Box<[Set]>,
    pub(super) frontends: Box<[(FrontendKey, Kind)]>,
    pub(super) source_ranges: Box<[IpNet]>,
    pub(super) draining: Box<[Member]>,
}

impl Port {
    /// Whether it is the port that these tables are of.
    pub(super) fn is(&self, tables: &PortTables) -> bool {
        self.name == tables.name && self.family == tables.family
    }

    /// Its key.
    pub(super) fn key(&self, service: &ServiceName) -> PortKey {
        PortKey { service: service.clone(), port: self.name.clone(), family: self.family }
    }

    /// Its rows of `ranges`.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u32, IpNet)> + '_ {
        self.source_ranges.iter().map(|range| (self.id, *range))
    }

    /// The run that holds exactly these backends.
    pub(super) fn run_of(&self, ids: &[u32]) -> Option<Run> {
        let same = |set: &&Set| set.members.iter().map(|member| member.id).eq(ids.iter().copied());
        self.sets.iter().find(same)?.run
    }

    /// Whether it has this front end.
    pub(super) fn answers(&self, key: &FrontendKey) -> bool {
        self.frontends.iter().any(|(own, _)| own == key)
    }

    /// All that its clients may be bound to: nothing without affinity.
    pub(super) fn bonds(&self) -> impl Iterator<Item = Bond> + '_ {
        let (service, family) = (self.id, self.family);
        let bond = move |(backend, is_local)| Bond { service, is_local, backend, family };
        self.sets.iter().flat_map(Set::bound).map(bond)
    }

    /// Its uses of backends.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.sets.iter().flat_map(|set| &set.members).chain(&self.draining)
    }
}

/// [`Set::binds`] of the set with this index.
pub(super) fn binds(tables: &PortTables, index: usize) -> [bool; 2] {
    let mut binds = [false; 2];
    for (_, frontend) in tables.frontends.iter().filter(|(_, frontend)| frontend.set == index) {
        binds[usize::from(frontend.local_only)] |= frontend.affinity_s.is_some();
    }
    binds
}

/// The row of `services` for a front end that leads to `set`.
pub(super) fn row(id: u32, frontend: &Frontend, set: &Set) -> Service {
    let mut flags = 0;
    if frontend.affinity_s.is_some() {
        flags |= service_flags::AFFINITY;
    }
    if frontend.local_only {
        flags |= service_flags::LOCAL;
    }
    if frontend.kind == Kind::NodePort {
        flags |= service_flags::NODE_PORT;
    }
    if frontend.ranged {
        flags |= service_flags::SOURCE_RANGES;
    }
    if frontend.dsr {
        flags |= service_flags::DSR;
    }
    match frontend.source {
        SourceAddress::AsPlaced => {}
        SourceAddress::Kept => flags |= service_flags::KEEP_SOURCE,
        SourceAddress::Masked => flags |= service_flags::MASQUERADE,
    }
    if set.run.is_none() && frontend.when_empty == WhenEmpty::Drop {
        flags |= service_flags::DROP;
    }
    Service {
        slot_base: set.run.map_or(0, |run| run.base),
        slot_count: set.run.map_or(0, |run| run.count),
        id,
        flags,
        affinity_s: frontend.affinity_s.map_or(0, Into::into),
        // A set is a list of pods: never as many as u32 can count.
        backend_count: set.run.map_or(0, |_| set.members.len() as u32),
    }
}
