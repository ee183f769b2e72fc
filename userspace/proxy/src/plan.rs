//! From what Services ask for to the rows of the kernel's tables, and only those that differ.
//!
//! The planner knows what the tables hold, allots ids and slots, and says what to write in which
//! order. A Service changes in one write: its new run of slots is complete before the row that points
//! to it flips, and the old run stays whole until no program can hold the old row.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use skep_abi::{Service, proto, service_flags};

use crate::arena::{Arena, Run};
use crate::backend_ids::{BackendIds, BackendRow};
use crate::frontend::{
    Backend, Family, Frontend, FrontendKey, Kind, PortTables, Protocol, Scope, SourceAddress,
    WhenEmpty,
};
use crate::maglev;
use crate::room::{Capacity, Extent, Occupancy};
use crate::service::ServiceName;

/// A key of the `services` table; protocol 0 with port 0 stands for "whatever has no row of its own".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// The address that clients use.
    pub address: IpAddr,
    /// The port that clients use.
    pub port: u16,
    /// The IP protocol's number.
    pub protocol: u8,
    /// Which senders the row is for.
    pub scope: Scope,
}

impl From<FrontendKey> for RowKey {
    fn from(key: FrontendKey) -> Self {
        let FrontendKey { address, port, protocol, scope } = key;
        Self { address, port, protocol: protocol.number(), scope }
    }
}

/// What to write, in the order of the fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How large tables must be made first.
    pub extent: Option<Extent>,
    /// Rows of `backends` that are new or usable in another way.
    pub backends: Vec<BackendRow>,
    /// Runs of `slots`.
    pub slots: Vec<(Run, Vec<u32>)>,
    /// Rows of `ranges`, by service id.
    pub ranges: Vec<(u32, IpNet)>,
    /// Rows of `services` to insert or replace.
    pub services: Vec<(RowKey, Service)>,
    /// Rows of `services` to remove.
    pub removed: Vec<RowKey>,
    /// Rows of `ranges` to remove.
    pub ranges_removed: Vec<(u32, IpNet)>,
    /// Rows of `backends` whose connections are to be cut.
    pub gone: Vec<BackendRow>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a run of slots holds, in one number: enough to tell whether two runs differ.
pub fn fingerprint(slots: &[u32]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    slots.hash(&mut hasher);
    hasher.finish()
}

/// What the tables held when the proxy started.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All rows of `services`.
    pub services: Vec<(RowKey, Service)>,
    /// What the runs that they point to hold, as [`fingerprint`]s.
    pub slots: HashMap<Run, u64>,
    /// The rows of `backends` that are in use, of both families.
    pub backends: Vec<BackendRow>,
    /// All rows of `ranges`.
    pub ranges: BTreeSet<(u32, IpNet)>,
}

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

#[derive(Debug)]
struct PortState {
    id: u32,
    tables: PortTables,
    /// Beside `tables.sets`.
    runs: Vec<Option<Run>>,
}

/// What the tables hold and who uses it.
#[derive(Debug)]
pub struct Planner {
    arena: Arena,
    backends: [BackendIds; 2],
    /// As the tables are.
    extent: Extent,
    /// Of `services`.
    room: Occupancy,
    /// Of `ranges`.
    range_room: Occupancy,
    ports: BTreeMap<ServiceName, Vec<(PortKey, PortState)>>,
    /// Every row as written, with the id of the port that owns it (0: the rest of an address).
    rows: HashMap<RowKey, Service>,
    /// How many ports use a cluster address: as long as one does, its other ports are rejected.
    cluster_ips: HashMap<IpAddr, u32>,
    next_id: u32,
    ids_in_use: HashSet<u32>,
    /// Found at the start and not claimed yet.
    unclaimed_rows: HashMap<RowKey, Service>,
    unclaimed_runs: HashMap<Run, u64>,
    /// Whether all that was found at the start has an owner or is on its way out.
    settled: bool,
    slots: Vec<(Run, Vec<u32>)>,
    /// Rows to write, or to remove.
    pending: HashMap<RowKey, Option<Service>>,
    /// All rows of `ranges`, as they will be written.
    ranges: BTreeSet<(u32, IpNet)>,
    /// Those that somebody wants, or that are to be removed.
    pending_ranges: BTreeMap<(u32, IpNet), bool>,
    /// Ports that found no room.
    pub starved: u64,
}

impl Planner {
    /// Takes over what the tables hold. Rows that no Service claims until [`Planner::settle`] go.
    pub fn new(capacity: Capacity, snapshot: Snapshot) -> Self {
        let mut arena = Arena::new(capacity.slots);
        let extent = Extent {
            slots: capacity.slots.size,
            backends: capacity.backends.map(|room| room.size),
        };
        let mut unclaimed_runs = snapshot.slots;
        unclaimed_runs.retain(|&run, _| arena.reserve(run));
        let backends = [Family::V4, Family::V6].map(|family| {
            let mut ids = BackendIds::new(capacity.backends[family as usize]);
            let rows = snapshot.backends.iter().copied();
            ids.adopt(rows.filter(|row| Family::of(row.address.ip()) == family));
            ids
        });
        let rows: HashMap<_, _> = snapshot.services.into_iter().collect();
        let families = rows.keys().map(|key: &RowKey| Family::of(key.address));
        let room = Occupancy::new(capacity.services, families);
        let families = snapshot.ranges.iter().map(|(_, range)| Family::of(range.addr()));
        let range_room = Occupancy::new(capacity.ranges, families);
        let next_id = rows.values().map(|row| row.id).max().unwrap_or(0) + 1;
        Self {
            arena,
            backends,
            extent,
            room,
            range_room,
            ports: BTreeMap::new(),
            unclaimed_rows: rows.clone(),
            rows,
            cluster_ips: HashMap::new(),
            next_id,
            ids_in_use: HashSet::new(),
            unclaimed_runs,
            settled: false,
            slots: Vec::new(),
            pending: HashMap::new(),
            ranges: snapshot.ranges,
            pending_ranges: BTreeMap::new(),
            starved: 0,
        }
    }

    /// Replaces what one Service asks for.
    pub fn set_service(&mut self, name: &ServiceName, ports: Vec<PortTables>, now: Instant) {
        let mut old = self.ports.remove(name).unwrap_or_default();
        let mut new = Vec::with_capacity(ports.len());
        for tables in ports {
            let key =
                PortKey { service: name.clone(), port: tables.name.clone(), family: tables.family };
            let before = old.iter().position(|(k, _)| *k == key).map(|at| old.swap_remove(at).1);
            new.push((key, self.replace_port(before, tables, now)));
        }
        for (_, state) in old {
            self.remove_port(state, now);
        }
        if !new.is_empty() {
            self.ports.insert(name.clone(), new);
        }
    }

    /// Every object has been seen: removes what was found at the start and belongs to none.
    pub fn settle(&mut self, now: Instant) {
        self.settled = true;
        for (key, _) in std::mem::take(&mut self.unclaimed_rows) {
            self.rows.remove(&key);
            self.pending.insert(key, None);
        }
        for (run, _) in std::mem::take(&mut self.unclaimed_runs) {
            self.arena.retire(run, now);
        }
        let ports = self.ports.values().flatten().map(|(_, state)| state);
        let claimed: BTreeSet<_> = ports.flat_map(PortState::ranges).collect();
        for range in self.ranges.clone().difference(&claimed) {
            self.set_range(*range, false);
        }
    }

    fn set_range(&mut self, range: (u32, IpNet), wanted: bool) {
        if !wanted {
            if self.ranges.remove(&range) {
                self.pending_ranges.insert(range, false);
            }
        } else if !self.ranges.contains(&range) {
            // What is still to be removed has its place.
            let is_there = self.pending_ranges.get(&range) == Some(&false);
            if is_there || self.range_room.take(Family::of(range.1.addr())) {
                self.ranges.insert(range);
                self.pending_ranges.insert(range, true);
            } else {
                self.starved += 1;
            }
        }
    }

    /// What to write since the last call. Before [`Planner::settle`] nothing that was found at the start
    /// is taken for gone: its Service may not have been seen yet.
    pub fn take_plan(&mut self, now: Instant) -> Plan {
        let slots = std::mem::take(&mut self.slots);
        let mut plan = Plan { extent: self.take_extent(), slots, ..Plan::default() };
        for ids in &mut self.backends {
            let (usable, gone) = ids.take_changed(now, self.settled);
            plan.backends.extend(usable);
            plan.gone.extend(gone);
        }
        for (range, wanted) in std::mem::take(&mut self.pending_ranges) {
            if wanted {
                plan.ranges.push(range);
            } else {
                self.range_room.give_back(Family::of(range.1.addr()));
                plan.ranges_removed.push(range);
            }
        }
        for (key, row) in self.pending.drain() {
            match row {
                Some(row) => plan.services.push((key, row)),
                None => {
                    self.room.give_back(Family::of(key.address));
                    plan.removed.push(key);
                }
            }
        }
        plan
    }

    /// How large the tables must be, if that is more than before.
    fn take_extent(&mut self) -> Option<Extent> {
        let backends = [0, 1].map(|family: usize| self.backends[family].room().size);
        let extent = Extent { slots: self.arena.room().size, backends };
        (std::mem::replace(&mut self.extent, extent) != extent).then_some(extent)
    }

    /// From now on tables may grow so far.
    pub fn set_limits(&mut self, capacity: &Capacity) {
        self.arena.set_limit(capacity.slots.limit);
        for (ids, room) in self.backends.iter_mut().zip(&capacity.backends) {
            ids.set_limit(room.limit);
        }
    }

    /// Ids whose grace period is over: flows that name them must go, then the rows be written, and then
    /// [`Planner::free`] be told.
    pub fn reclaim(&mut self, now: Instant) -> Vec<BackendRow> {
        self.backends.iter_mut().flat_map(|ids| ids.reclaim(now)).collect()
    }

    /// Nothing names these backends any more.
    pub fn free(&mut self, rows: &[BackendRow]) {
        for family in [Family::V4, Family::V6] {
            let of_family = rows.iter().filter(|row| Family::of(row.address.ip()) == family);
            self.backends[family as usize].free(of_family.map(|row| row.id));
        }
    }

    /// The number of every known port, for people who read the tables.
    pub fn ids(&self) -> impl Iterator<Item = (u32, &PortKey)> {
        self.ports.values().flatten().map(|(key, state)| (state.id, key))
    }

    /// The numbers of one Service's ports.
    pub fn ids_of(&self, name: &ServiceName) -> impl Iterator<Item = (u32, &PortKey)> {
        let ports = self.ports.get(name).into_iter().flatten();
        ports.map(|(key, state)| (state.id, key))
    }

    /// What a Service asked for and did not get: the reason in a word, and a sentence.
    pub fn refusals(&self, name: &ServiceName) -> Vec<(&'static str, String)> {
        let mut refusals = Vec::new();
        let mut full = |what: &str| {
            let refusal = ("TablesFull", format!("the node's tables have no room for {what}"));
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        };
        let mut taken = Vec::new();
        for (_, state) in self.ports.get(name).into_iter().flatten() {
            for (key, _) in &state.tables.frontends {
                match self.rows.get(&RowKey::from(*key)) {
                    None => full("all of its addresses"),
                    // One sentence per address, whoever sees it.
                    Some(row) if row.id != state.id && key.scope == Scope::Outside => {
                        let owner = self.owner(row.id);
                        taken
                            .push(("AddressTaken", format!("{key} is served for {owner} already")));
                    }
                    Some(_) => {}
                }
            }
            let mut runs = state.runs.iter().zip(&state.tables.sets);
            if runs.any(|(run, set)| run.is_none() && !set.is_empty()) {
                full("its endpoints");
            }
            if state.ranges().any(|range| !self.ranges.contains(&range)) {
                full("all of its source ranges");
            }
        }
        taken.extend(refusals);
        taken
    }

    fn owner(&self, id: u32) -> String {
        let owner = self.ids().find(|(other, _)| *other == id);
        owner.map_or_else(|| "another Service".into(), |(_, key)| key.to_string())
    }

    /// All rows of `backends`, as written.
    pub fn backends(&self) -> impl Iterator<Item = BackendRow> {
        self.backends.iter().flat_map(BackendIds::rows)
    }

    /// Slots in use, and slots that there may be.
    pub fn slots(&self) -> (u32, u32) {
        (self.arena.used(), self.arena.room().limit)
    }

    /// Backend ids in use, those in grace included, and ids that there may be.
    pub fn backend_ids(&self, family: Family) -> (u32, u32) {
        let ids = &self.backends[family as usize];
        // No more are handed out than the limit, which is a u32.
        (ids.used() as u32, ids.room().limit)
    }

    /// Rows of `services`, and room in all.
    pub fn service_rows(&self, family: Family) -> (u32, u32) {
        self.room.of(family)
    }

    /// Rows of `ranges`, and room in all.
    pub fn range_rows(&self, family: Family) -> (u32, u32) {
        self.range_room.of(family)
    }

    /// Whether a backend listens on one of these addresses (the node's own).
    pub fn serves_on(&self, addresses: &[IpAddr]) -> bool {
        let family = |address: &IpAddr| &self.backends[Family::of(*address) as usize];
        addresses.iter().any(|address| family(address).serves_on(*address))
    }

    fn replace_port(
        &mut self,
        before: Option<PortState>,
        tables: PortTables,
        now: Instant,
    ) -> PortState {
        let id = match &before {
            Some(state) => state.id,
            None => self.claim_id(&tables),
        };
        for range in &tables.source_ranges {
            self.set_range((id, *range), true);
        }
        // Take the new before giving up the old: what is in both never looks gone.
        self.acquire(&tables);
        let runs: Vec<_> =
            tables.sets.iter().map(|set| self.place(set, &tables, &before, now)).collect();
        for (key, frontend) in &tables.frontends {
            self.write_row((*key).into(), row(id, frontend, &tables, &runs));
            self.count_cluster_ip(key, frontend, 1);
        }
        if let Some(before) = before {
            for range in before.ranges().filter(|(_, r)| !tables.source_ranges.contains(r)) {
                self.set_range(range, false);
            }
            let kept = |key: &FrontendKey| tables.frontends.iter().any(|(k, _)| k == key);
            for (key, frontend) in &before.tables.frontends {
                self.count_cluster_ip(key, frontend, -1);
                if !kept(key) {
                    self.remove_row((*key).into(), id);
                }
            }
            for run in before.runs.iter().flatten().filter(|run| !runs.contains(&Some(**run))) {
                self.arena.retire(*run, now);
            }
            self.release(&before.tables);
        }
        PortState { id, tables, runs }
    }

    fn remove_port(&mut self, state: PortState, now: Instant) {
        self.ids_in_use.remove(&state.id);
        state.ranges().for_each(|range| self.set_range(range, false));
        for (key, frontend) in &state.tables.frontends {
            self.count_cluster_ip(key, frontend, -1);
            self.remove_row((*key).into(), state.id);
        }
        for run in state.runs.into_iter().flatten() {
            self.arena.retire(run, now);
        }
        self.release(&state.tables);
    }

    /// The id that a row found at the start has, so that affinity goes on, or a new one.
    fn claim_id(&mut self, tables: &PortTables) -> u32 {
        let unclaimed = |key: FrontendKey| self.unclaimed_rows.get(&RowKey::from(key));
        let found = tables.frontends.iter().find_map(|(key, _)| Some(unclaimed(*key)?.id));
        let found = found.filter(|id| *id != 0 && !self.ids_in_use.contains(id));
        let id = found.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id - 1
        });
        self.ids_in_use.insert(id);
        id
    }

    /// Finds or makes the run for a set; `None` for an empty one, or when there is no room.
    fn place(
        &mut self,
        set: &[Backend],
        tables: &PortTables,
        before: &Option<PortState>,
        now: Instant,
    ) -> Option<Run> {
        let addresses: Vec<SocketAddr> = set.iter().map(|backend| backend.address).collect();
        if let Some(run) = before.as_ref().and_then(|before| before.run_of(&addresses)) {
            return Some(run);
        }
        let ids = &self.backends[tables.family as usize];
        // A backend that got no id gets no traffic either.
        let addresses: Vec<_> = addresses.into_iter().filter(|a| ids.id(a).is_some()).collect();
        let numbers: Vec<u32> = addresses.iter().filter_map(|address| ids.id(address)).collect();
        let mut size = maglev::table_size(addresses.len());
        while size > 0 {
            let slots: Vec<u32> =
                maglev::table(&addresses, size).into_iter().map(|i| numbers[i as usize]).collect();
            if let Some(run) = self.claim_run(tables, &slots) {
                return Some(run);
            }
            if let Some(run) = self.arena.allocate(size, now) {
                self.slots.push((run, slots));
                return Some(run);
            }
            self.starved += 1;
            size = maglev::smaller(size, addresses.len());
        }
        None
    }

    /// A run found at the start that one of these frontends points to and that holds just this.
    fn claim_run(&mut self, tables: &PortTables, slots: &[u32]) -> Option<Run> {
        let run = tables.frontends.iter().find_map(|(key, _)| {
            let row = self.unclaimed_rows.get(&RowKey::from(*key))?;
            let run = Run { base: row.slot_base, count: row.slot_count };
            (*self.unclaimed_runs.get(&run)? == fingerprint(slots)).then_some(run)
        })?;
        self.unclaimed_runs.remove(&run);
        Some(run)
    }

    fn write_row(&mut self, key: RowKey, row: Service) {
        // Two Services may name one external address and port: the older one keeps it.
        let owner = self.rows.get(&key).filter(|_| !self.unclaimed_rows.contains_key(&key));
        if owner.is_some_and(|owner| owner.id != row.id) {
            tracing::warn!(address = %key.address, port = key.port, "claimed by two services");
            return;
        }
        self.unclaimed_rows.remove(&key);
        // What is still to be removed has its place.
        let is_there = self.rows.contains_key(&key) || self.pending.get(&key) == Some(&None);
        if !is_there && !self.room.take(Family::of(key.address)) {
            self.starved += 1;
            return;
        }
        if self.rows.insert(key, row) != Some(row) {
            self.pending.insert(key, Some(row));
        }
    }

    fn remove_row(&mut self, key: RowKey, id: u32) {
        if self.rows.get(&key).is_some_and(|row| row.id == id) {
            self.rows.remove(&key);
            self.pending.insert(key, None);
        }
    }

    fn count_cluster_ip(&mut self, key: &FrontendKey, frontend: &Frontend, by: i32) {
        if frontend.kind != Kind::ClusterIp || key.scope != Scope::Inside {
            return;
        }
        let count = self.cluster_ips.entry(key.address).or_default();
        *count = count.saturating_add_signed(by);
        let (address, used) = (key.address, *count > 0);
        if !used {
            self.cluster_ips.remove(&address);
        }
        for scope in [Scope::Inside, Scope::Outside] {
            let rest = RowKey { address, port: 0, protocol: proto::ANY, scope };
            if used {
                self.write_row(
                    rest,
                    Service { flags: service_flags::REJECT, ..Service::default() },
                );
            } else {
                self.remove_row(rest, 0);
            }
        }
    }

    fn acquire(&mut self, tables: &PortTables) {
        let ids = &mut self.backends[tables.family as usize];
        let datagrams = tables.frontends.iter().any(|(key, _)| key.protocol == Protocol::Udp);
        for backend in tables.sets.iter().flatten().chain(&tables.draining) {
            if ids.acquire(backend.address, backend.state, datagrams).is_none() {
                self.starved += 1;
            }
        }
    }

    fn release(&mut self, tables: &PortTables) {
        let ids = &mut self.backends[tables.family as usize];
        for backend in tables.sets.iter().flatten().chain(&tables.draining) {
            ids.release(backend.address, backend.state);
        }
    }
}

impl PortState {
    /// Its rows of `ranges`.
    fn ranges(&self) -> impl Iterator<Item = (u32, IpNet)> + '_ {
        self.tables.source_ranges.iter().map(|range| (self.id, *range))
    }

    /// The run that holds exactly these backends.
    fn run_of(&self, addresses: &[SocketAddr]) -> Option<Run> {
        let same =
            |set: &&Vec<Backend>| set.iter().map(|b| b.address).eq(addresses.iter().copied());
        let at = self.tables.sets.iter().position(|set| same(&set))?;
        self.runs[at]
    }
}

fn row(id: u32, frontend: &Frontend, tables: &PortTables, runs: &[Option<Run>]) -> Service {
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
    let run = runs[frontend.set];
    if run.is_none() && frontend.when_empty == WhenEmpty::Drop {
        flags |= service_flags::DROP;
    }
    Service {
        slot_base: run.map_or(0, |run| run.base),
        slot_count: run.map_or(0, |run| run.count),
        id,
        flags,
        affinity_s: frontend.affinity_s.map_or(0, Into::into),
        // A set is a list of pods: never as many as u32 can count.
        backend_count: run.map_or(0, |_| tables.sets[frontend.set].len() as u32),
    }
}

#[cfg(test)]
mod tests;
