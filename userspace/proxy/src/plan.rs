//! From what Services ask for to the rows of the kernel's tables, and only those that differ.
//!
//! The planner knows what the tables hold, allots ids and slots, and says what to write in which
//! order. A Service changes in one write: its new run of slots is complete before the row that points
//! to it flips, and the old run stays whole until no program can hold the old row.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ipnet::IpNet;
use skep_abi::{Service, proto, service_flags};

use crate::arena::{Arena, Run};
use crate::backend_ids::{BackendIds, BackendRow};
use crate::frontend::{Backend, Family, FrontendKey, Kind, PortTables, Protocol, Scope};
use crate::maglev;
use crate::room::{Capacity, Extent, Occupancy};
use crate::service::ServiceName;

mod bonds;
mod port;

pub use bonds::Bond;
pub use port::PortKey;
use port::{Member, Port, Set, binds, row};

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
    /// What no entry of `sources` may say any more, once all else is written.
    pub unbound: Vec<Bond>,
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
    /// What the entries of `sources` say.
    pub bonds: BTreeSet<Bond>,
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
    ports: BTreeMap<ServiceName, Box<[Port]>>,
    /// Every row as written, with the id of the port that owns it (0: the rest of an address).
    rows: HashMap<RowKey, Service>,
    /// How many ports use a cluster address: as long as one does, its other ports are rejected.
    cluster_ips: HashMap<IpAddr, u32>,
    next_id: u32,
    ids_in_use: HashSet<u32>,
    /// Found at the start and not claimed yet.
    unclaimed_rows: HashMap<RowKey, Service>,
    unclaimed_runs: HashMap<Run, u64>,
    unclaimed_bonds: BTreeSet<Bond>,
    /// Whether all that was found at the start has an owner or is on its way out.
    settled: bool,
    slots: Vec<(Run, Vec<u32>)>,
    /// Rows to write, or to remove.
    pending: HashMap<RowKey, Option<Service>>,
    /// All rows of `ranges`, as they will be written.
    ranges: BTreeSet<(u32, IpNet)>,
    /// Those that somebody wants, or that are to be removed.
    pending_ranges: BTreeMap<(u32, IpNet), bool>,
    unbound: Vec<Bond>,
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
            unclaimed_bonds: snapshot.bonds,
            settled: false,
            slots: Vec::new(),
            pending: HashMap::new(),
            ranges: snapshot.ranges,
            pending_ranges: BTreeMap::new(),
            unbound: Vec::new(),
            starved: 0,
        }
    }

    /// Replaces what one Service asks for.
    pub fn set_service(&mut self, name: &ServiceName, ports: Vec<PortTables>, now: Instant) {
        let mut old = self.ports.remove(name).unwrap_or_default().into_vec();
        let mut new = Vec::with_capacity(ports.len());
        for tables in ports {
            let before = old.iter().position(|port| port.is(&tables));
            let before = before.map(|at| old.swap_remove(at));
            new.push(self.replace_port(before, &tables, now));
        }
        for port in old {
            self.remove_port(&port, now);
        }
        if !new.is_empty() {
            self.ports.insert(name.clone(), new.into());
        }
    }

    /// So many more Services are to come: makes room for them at once, as far as can be told from those that
    /// are there. To grow often is to wait often. Only at a start on empty tables: else those to come may have
    /// their room already.
    pub fn expect(&mut self, services: usize) {
        if self.settled || !self.unclaimed_rows.is_empty() {
            return;
        }
        let known = self.ports.len().max(1) as u64;
        let share = |used: u64| used * services as u64 / known;
        self.arena.expect(share(self.arena.used().into()));
        for ids in &mut self.backends {
            ids.expect(share(ids.used() as u64));
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
        let claimed: BTreeSet<_> = self.ports.values().flatten().flat_map(Port::ranges).collect();
        for range in self.ranges.clone().difference(&claimed) {
            self.set_range(*range, false);
        }
        self.settle_bonds();
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
        let mut plan = Plan {
            extent: self.take_extent(),
            slots: std::mem::take(&mut self.slots),
            unbound: std::mem::take(&mut self.unbound),
            ..Plan::default()
        };
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
    pub fn ids(&self) -> impl Iterator<Item = (u32, PortKey)> {
        let ports =
            self.ports.iter().flat_map(|(name, ports)| ports.iter().map(move |p| (name, p)));
        ports.map(|(name, port)| (port.id, port.key(name)))
    }

    /// The numbers of one Service's ports.
    pub fn ids_of(&self, name: &ServiceName) -> impl Iterator<Item = (u32, PortKey)> {
        let ports = self.ports.get_key_value(name).into_iter();
        let ports = ports.flat_map(|(name, ports)| ports.iter().map(move |port| (name, port)));
        ports.map(|(name, port)| (port.id, port.key(name)))
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
        for port in self.ports.get(name).into_iter().flatten() {
            for (key, _) in &port.frontends {
                match self.rows.get(&RowKey::from(*key)) {
                    None => full("all of its addresses"),
                    // One sentence per address, whoever sees it.
                    Some(row) if row.id != port.id && key.scope == Scope::Outside => {
                        let owner = self.owner(row.id);
                        taken
                            .push(("AddressTaken", format!("{key} is served for {owner} already")));
                    }
                    Some(_) => {}
                }
            }
            if port.sets.iter().any(|set| set.is_short) {
                full("all of its endpoints");
            }
            if port.ranges().any(|range| !self.ranges.contains(&range)) {
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

    /// Whether packets to this address and port find a Service, or did when the proxy started.
    pub fn is_served(&self, address: IpAddr, port: u16, protocol: Protocol) -> bool {
        let row = |scope| RowKey { address, port, protocol: protocol.number(), scope };
        [Scope::Inside, Scope::Outside].into_iter().any(|scope| self.rows.contains_key(&row(scope)))
    }

    /// Whether a backend listens on one of these addresses (the node's own). Looks at all backends.
    pub fn serves_on(&self, addresses: &[IpAddr]) -> bool {
        self.backends.iter().any(|ids| ids.serve_on(addresses))
    }

    fn replace_port(&mut self, before: Option<Port>, tables: &PortTables, now: Instant) -> Port {
        let id = match &before {
            Some(port) => port.id,
            None => self.claim_id(tables),
        };
        for range in &tables.source_ranges {
            self.set_range((id, *range), true);
        }
        // Take the new before giving up the old: what is in both never looks gone.
        let sets = 0..tables.sets.len();
        let sets = sets.map(|index| self.place(index, tables, &before, now)).collect();
        let draining = self.acquire(&tables.draining, tables).into_iter().flatten().collect();
        let port = Port {
            name: tables.name.clone(),
            family: tables.family,
            id,
            sets,
            frontends: tables.frontends.iter().map(|(key, f)| (*key, f.kind)).collect(),
            source_ranges: tables.source_ranges.as_slice().into(),
            draining,
        };
        for (key, frontend) in &tables.frontends {
            self.write_row((*key).into(), row(id, frontend, &port.sets[frontend.set]));
            self.count_cluster_ip(key, frontend.kind, 1);
        }
        if let Some(before) = before {
            self.give_up(&before, &port, now);
        }
        port
    }

    /// Gives up what a port had and no longer asks for.
    fn give_up(&mut self, before: &Port, after: &Port, now: Instant) {
        self.unbind(before, Some(after));
        for range in before.ranges().filter(|(_, range)| !after.source_ranges.contains(range)) {
            self.set_range(range, false);
        }
        for (key, kind) in &before.frontends {
            self.count_cluster_ip(key, *kind, -1);
            if !after.answers(key) {
                self.remove_row((*key).into(), before.id);
            }
        }
        for run in before.sets.iter().filter_map(|set| set.run) {
            if !after.sets.iter().any(|set| set.run == Some(run)) {
                self.arena.retire(run, now);
            }
        }
        self.release(before);
    }

    fn remove_port(&mut self, port: &Port, now: Instant) {
        self.ids_in_use.remove(&port.id);
        self.unbind(port, None);
        port.ranges().for_each(|range| self.set_range(range, false));
        for (key, kind) in &port.frontends {
            self.count_cluster_ip(key, *kind, -1);
            self.remove_row((*key).into(), port.id);
        }
        for run in port.sets.iter().filter_map(|set| set.run) {
            self.arena.retire(run, now);
        }
        self.release(port);
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

    /// Takes the backends of a set, and finds or makes its run.
    fn place(
        &mut self,
        index: usize,
        tables: &PortTables,
        before: &Option<Port>,
        now: Instant,
    ) -> Set {
        let set = &tables.sets[index];
        // A backend that got no id gets no traffic either.
        let taken = self.acquire(set, tables);
        let with_id = set.iter().zip(&taken).filter(|(_, member)| member.is_some());
        let addresses: Vec<SocketAddr> = with_id.map(|(backend, _)| backend.address).collect();
        let members: Box<[Member]> = taken.into_iter().flatten().collect();
        let ids: Vec<u32> = members.iter().map(|member| member.id).collect();
        let known = before.as_ref().and_then(|before| before.run_of(&ids));
        let run = known.or_else(|| self.make_run(&addresses, &ids, tables, now));
        let is_short = members.len() < set.len() || (run.is_none() && !set.is_empty());
        Set { members, run, is_short, binds: binds(tables, index) }
    }

    /// A run for these backends; `None` for an empty set, or when there is no room.
    fn make_run(
        &mut self,
        addresses: &[SocketAddr],
        ids: &[u32],
        tables: &PortTables,
        now: Instant,
    ) -> Option<Run> {
        let mut size = maglev::table_size(addresses.len());
        while size > 0 {
            let places = maglev::table(addresses, size).into_iter();
            let slots: Vec<u32> = places.map(|place| ids[place as usize]).collect();
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

    fn count_cluster_ip(&mut self, key: &FrontendKey, kind: Kind, by: i32) {
        if kind != Kind::ClusterIp || key.scope != Scope::Inside {
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

    /// Counts a use of each backend; nothing in the place of those that got no id.
    fn acquire(&mut self, backends: &[Backend], tables: &PortTables) -> Vec<Option<Member>> {
        let ids = &mut self.backends[tables.family as usize];
        let datagrams = tables.frontends.iter().any(|(key, _)| key.protocol == Protocol::Udp);
        let member = |backend: &Backend| {
            let id = ids.acquire(backend.address, backend.state, datagrams)?;
            Some(Member { id, state: backend.state })
        };
        let members: Vec<_> = backends.iter().map(member).collect();
        self.starved += members.iter().filter(|member| member.is_none()).count() as u64;
        members
    }

    fn release(&mut self, port: &Port) {
        let ids = &mut self.backends[port.family as usize];
        port.members().for_each(|member| ids.release(member.id, member.state));
    }
}

#[cfg(test)]
mod tests;
