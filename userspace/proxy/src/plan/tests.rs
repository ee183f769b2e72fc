//! The planner against a model of the tables: what is written is what a program would find.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_abi::backend_state;

use super::*;
use crate::frontend::{BackendState, Frontend, Protocol, SourceAddress, WhenEmpty};
use crate::room::Room;

const CAPACITY: Capacity = capacity(4096, 64, 1 << 10);

/// Tables of a size that does not change.
const fn capacity(slots: u32, backends: u32, services: u32) -> Capacity {
    Capacity {
        slots: Room { size: slots, limit: slots },
        backends: [Room { size: backends, limit: backends }; 2],
        services: [services; 2],
        ranges: [64; 2],
    }
}

/// The kernel's tables.
#[derive(Default)]
struct Tables {
    services: BTreeMap<RowKey, Service>,
    slots: Vec<u32>,
    backends: BTreeMap<u32, BackendRow>,
    ranges: BTreeSet<(u32, IpNet)>,
    bonds: BTreeSet<Bond>,
}

impl Tables {
    fn apply(&mut self, plan: Plan) {
        let size = plan.extent.map_or(CAPACITY.slots.size, |extent| extent.slots);
        self.slots.resize(self.slots.len().max(size as usize), 0);
        for row in plan.backends.into_iter().chain(plan.gone) {
            self.backends.insert(row.id, row);
        }
        for (run, slots) in plan.slots {
            let in_use = |row: &Service| {
                row.slot_base < run.base + run.count && run.base < row.slot_base + row.slot_count
            };
            assert!(!self.services.values().any(in_use), "{run:?} is written while in use");
            self.slots[run.base as usize..][..slots.len()].copy_from_slice(&slots);
        }
        self.ranges.extend(plan.ranges);
        for range in plan.ranges_removed {
            assert!(self.ranges.remove(&range), "{range:?} was not there");
        }
        self.services.extend(plan.services);
        for key in plan.removed {
            assert!(self.services.remove(&key).is_some(), "{key:?} was not there");
        }
        for bond in plan.unbound {
            self.bonds.remove(&bond);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let run = |row: &Service| Run { base: row.slot_base, count: row.slot_count };
        let slots = |run: Run| self.slots[run.base as usize..][..run.count as usize].to_vec();
        Snapshot {
            services: self.services.iter().map(|(key, row)| (*key, *row)).collect(),
            slots: self
                .services
                .values()
                .filter(|row| row.slot_count > 0)
                .map(|row| (run(row), fingerprint(&slots(run(row)))))
                .collect(),
            backends: self.backends.values().copied().collect(),
            ranges: self.ranges.clone(),
            bonds: self.bonds.clone(),
        }
    }

    /// The ports of the backends that a packet to this address may reach.
    fn reach(&self, address: &str, port: u16) -> Vec<u16> {
        let key = RowKey {
            address: address.parse().expect("address"),
            port,
            protocol: proto::TCP,
            scope: Scope::Inside,
        };
        let Some(row) = self.services.get(&key) else { return Vec::new() };
        let slots = &self.slots[row.slot_base as usize..][..row.slot_count as usize];
        let port = |id: &u32| {
            let backend = self.backends[id];
            assert_ne!(backend.state, backend_state::GONE, "{backend:?} is in use");
            backend.address.port()
        };
        let mut ports: Vec<_> = slots.iter().map(port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

fn backends(ports: &[u16]) -> Vec<Backend> {
    let backend = |&port: &u16| Backend {
        address: SocketAddr::from(([10, 244, 0, 1], port)),
        state: BackendState::Active,
        local: true,
    };
    ports.iter().map(backend).collect()
}

fn tables(address: &str, set: &[u16]) -> Vec<PortTables> {
    let key = FrontendKey {
        address: address.parse().expect("address"),
        port: 80,
        protocol: Protocol::Tcp,
        scope: Scope::Inside,
    };
    let frontend = Frontend {
        kind: Kind::ClusterIp,
        set: 0,
        affinity_s: None,
        local_only: false,
        when_empty: WhenEmpty::Reject,
        source: SourceAddress::AsPlaced,
        ranged: false,
        dsr: false,
    };
    vec![PortTables {
        name: "http".into(),
        family: Family::V4,
        sets: vec![backends(set)],
        frontends: vec![(key, frontend)],
        source_ranges: Vec::new(),
        draining: Vec::new(),
    }]
}

/// A planner over empty tables.
fn fresh() -> Planner {
    let mut planner = Planner::new(CAPACITY, Snapshot::default());
    planner.settle(Instant::now());
    planner
}

fn web() -> ServiceName {
    ServiceName::new("shop", "web")
}

#[test]
fn a_service_flips_whole_and_old_backends_go() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    for (step, ports) in [vec![1, 2], vec![2, 3, 4], vec![], vec![7], vec![7, 8]].iter().enumerate()
    {
        planner.set_service(&web(), tables("10.96.0.7", ports), now);
        kernel.apply(planner.take_plan(now));
        assert_eq!(kernel.reach("10.96.0.7", 80), *ports, "step {step}");
    }
    let usable = |row: &&BackendRow| row.state == backend_state::READY;
    assert_eq!(kernel.backends.values().filter(usable).count(), 2);
    assert_eq!(kernel.backends.len(), 6, "gone ids are not reused in time of grace");

    planner.set_service(&web(), vec![], now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.services.len(), 0);
    assert_eq!(planner.reclaim(now + Duration::from_secs(3600)).len(), 6);
}

#[test]
fn nothing_new_writes_nothing() {
    let mut planner = fresh();
    let now = Instant::now();
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2]), now);
    assert!(!planner.take_plan(now).is_empty());
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2]), now);
    assert_eq!(planner.take_plan(now), Plan::default());
}

#[test]
fn the_rest_of_a_cluster_address_is_rejected_while_a_port_uses_it() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    planner.set_service(&web(), tables("10.96.0.7", &[1]), now);
    kernel.apply(planner.take_plan(now));
    let rest = |kernel: &Tables| kernel.services.iter().filter(|(key, _)| key.port == 0).count();
    assert_eq!(rest(&kernel), 2, "one per scope");
    planner.set_service(&web(), tables("10.96.0.8", &[1]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(rest(&kernel), 2);
    assert!(kernel.services.keys().all(|key| key.address.to_string() == "10.96.0.8"));
}

#[test]
fn after_a_restart_only_the_difference_is_written() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2]), now);
    planner.set_service(&ServiceName::new("shop", "old"), tables("10.96.0.9", &[5, 6]), now);
    kernel.apply(planner.take_plan(now));

    let mut planner = Planner::new(CAPACITY, kernel.snapshot());
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2]), now);
    let new = ServiceName::new("shop", "new");
    planner.set_service(&new, tables("10.96.0.11", &[1]), now);
    planner.settle(now);
    let plan = planner.take_plan(now);
    assert_eq!(plan.slots.len(), 1, "the kept service's run stays");
    assert!(plan.services.iter().all(|(key, _)| key.address.to_string() == "10.96.0.11"));
    assert!(plan.removed.iter().all(|key| key.address.to_string() == "10.96.0.9"));
    assert_eq!(plan.gone.iter().map(|row| row.address.port()).collect::<Vec<_>>(), [5, 6]);
    kernel.apply(plan);
    assert_eq!(kernel.reach("10.96.0.7", 80), [1, 2]);
    assert_eq!(kernel.reach("10.96.0.11", 80), [1]);
    assert_eq!(kernel.reach("10.96.0.9", 80), [] as [u16; 0]);
}

#[test]
fn a_restart_that_finds_everything_as_it_should_be_writes_nothing() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2, 3]), now);
    kernel.apply(planner.take_plan(now));
    let mut planner = Planner::new(CAPACITY, kernel.snapshot());
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2, 3]), now);
    planner.settle(now);
    assert_eq!(planner.take_plan(now), Plan::default());
}

#[test]
fn without_room_for_a_large_table_a_small_one_does() {
    let mut planner = Planner::new(capacity(256, 64, 1 << 10), Snapshot::default());
    let now = Instant::now();
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2, 3]), now);
    let plan = planner.take_plan(now);
    assert_eq!(plan.slots[0].0.count, 251, "three backends would like 509");
    assert_eq!(planner.starved, 1);
}

#[test]
fn two_services_cannot_share_an_address_and_port() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    planner.set_service(&web(), tables("192.0.2.1", &[1]), now);
    planner.set_service(&ServiceName::new("shop", "thief"), tables("192.0.2.1", &[2]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.reach("192.0.2.1", 80), [1]);
}

#[test]
fn who_comes_second_is_told_and_takes_over_when_the_first_goes() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let (now, second) = (Instant::now(), ServiceName::new("shop", "second"));
    let outside = |set: &[u16]| {
        let mut ports = tables("192.0.2.1", set);
        ports[0].frontends[0].0.scope = Scope::Outside;
        ports
    };
    planner.set_service(&web(), outside(&[1]), now);
    planner.set_service(&second, outside(&[2]), now);
    assert_eq!(planner.refusals(&web()), []);
    let note = "192.0.2.1:80/TCP is served for shop/web:http already".to_owned();
    assert_eq!(planner.refusals(&second), [("AddressTaken", note)]);
    planner.set_service(&web(), Vec::new(), now);
    planner.set_service(&second, outside(&[2]), now);
    assert_eq!(planner.refusals(&second), []);
    kernel.apply(planner.take_plan(now));
    assert!(kernel.services.keys().any(|key| key.scope == Scope::Outside && key.port == 80));
}

#[test]
fn ranges_follow_their_service_and_survive_a_restart() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    let with = |ranges: &[&str]| {
        let mut ports = tables("192.0.2.1", &[1]);
        ports[0].frontends[0].1.ranged = !ranges.is_empty();
        ports[0].source_ranges = ranges.iter().map(|r| r.parse().expect("range")).collect();
        ports
    };
    let held = |kernel: &Tables| -> Vec<String> {
        kernel.ranges.iter().map(|(_, range)| range.to_string()).collect()
    };
    planner.set_service(&web(), with(&["10.0.0.0/8", "192.0.2.0/24"]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(held(&kernel), ["10.0.0.0/8", "192.0.2.0/24"]);
    let row = kernel.services.values().find(|row| row.flags & service_flags::REJECT == 0);
    let (id, flags) = row.map(|row| (row.id, row.flags)).expect("a row");
    assert_eq!(flags & service_flags::SOURCE_RANGES, service_flags::SOURCE_RANGES);
    assert!(kernel.ranges.iter().all(|(of, _)| *of == id));

    kernel.ranges.insert((id + 7, "10.9.0.0/16".parse().expect("range")));
    let mut planner = Planner::new(CAPACITY, kernel.snapshot());
    planner.set_service(&web(), with(&["10.0.0.0/8"]), now);
    planner.settle(now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(held(&kernel), ["10.0.0.0/8"]);
    planner.set_service(&web(), Vec::new(), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(held(&kernel), [] as [&str; 0]);
}

/// The same, with affinity.
fn sticky(address: &str, set: &[u16]) -> Vec<PortTables> {
    let mut ports = tables(address, set);
    ports[0].frontends[0].1.affinity_s = std::num::NonZero::new(60);
    ports
}

/// A bond of a Service's clients to the backend with this port.
fn bond(planner: &Planner, kernel: &Tables, service: &ServiceName, port: u16) -> Bond {
    let service = planner.ids_of(service).next().expect("an id").0;
    let row = kernel.backends.values().find(|row| row.address.port() == port);
    let backend = row.expect("a backend").id;
    Bond { service, is_local: false, backend, family: Family::V4 }
}

#[test]
fn bonds_end_with_the_backends_part_in_the_port() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let (now, other) = (Instant::now(), ServiceName::new("shop", "other"));
    planner.set_service(&web(), sticky("10.96.0.7", &[1, 2, 3]), now);
    // Both stay in use.
    planner.set_service(&other, tables("10.96.0.8", &[1, 2]), now);
    kernel.apply(planner.take_plan(now));
    let [first, second, third] = [1, 2, 3].map(|port| bond(&planner, &kernel, &web(), port));
    kernel.bonds = [first, second, third].into();

    planner.set_service(&web(), sticky("10.96.0.7", &[2, 3]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [second, third].into());

    let mut unbound = vec![first, second];
    planner.retain_unbound(&mut unbound);
    assert_eq!(unbound, [first], "the other came back");

    // One more goes while no proxy runs, and there is what a Service left whose id is free again.
    kernel.bonds.insert(Bond { service: second.service + 7, ..second });
    let mut planner = Planner::new(CAPACITY, kernel.snapshot());
    planner.set_service(&web(), sticky("10.96.0.7", &[3]), now);
    planner.set_service(&other, tables("10.96.0.8", &[1, 2]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds.len(), 3, "not all may have been seen yet");
    planner.settle(now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [third].into());

    planner.set_service(&web(), Vec::new(), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [].into());
}

#[test]
fn bonds_end_with_affinity() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    planner.set_service(&web(), sticky("10.96.0.7", &[1]), now);
    kernel.apply(planner.take_plan(now));
    kernel.bonds = [bond(&planner, &kernel, &web(), 1)].into();
    planner.set_service(&web(), tables("10.96.0.7", &[1]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [].into());
}

#[test]
fn bonds_of_local_front_ends_end_with_the_set_that_these_choose_from() {
    let mut planner = fresh();
    let mut kernel = Tables::default();
    let now = Instant::now();
    let with_local = |set: &[u16], here: &[u16]| {
        let mut ports = sticky("10.96.0.7", set);
        let (key, frontend) = ports[0].frontends[0];
        let kept = FrontendKey { address: [192, 0, 2, 1].into(), scope: Scope::Outside, ..key };
        ports[0].frontends.push((kept, Frontend { set: 1, local_only: true, ..frontend }));
        ports[0].sets.push(backends(here));
        ports
    };
    planner.set_service(&web(), with_local(&[1, 2, 3], &[1, 2]), now);
    kernel.apply(planner.take_plan(now));
    let [first, second, third] = [1, 2, 3].map(|port| bond(&planner, &kernel, &web(), port));
    let [first_here, second_here] = [first, second].map(|bond| Bond { is_local: true, ..bond });
    kernel.bonds = [first, second, third, first_here, second_here].into();

    planner.set_service(&web(), with_local(&[1, 2, 3], &[1]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [first, second, third, first_here].into());

    planner.set_service(&web(), with_local(&[2, 3], &[1]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [second, third, first_here].into());

    // Both kinds of front ends choose from one set.
    let mut shared = with_local(&[2, 3], &[]);
    shared[0].sets.pop();
    shared[0].frontends[1].1.set = 0;
    kernel.bonds.insert(second_here);
    planner.set_service(&web(), shared, now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.bonds, [second, second_here, third].into());
}

/// The names of so many Services and their addresses.
fn names(count: u8) -> impl Iterator<Item = (ServiceName, String)> {
    (0..count).map(|n| (ServiceName::new("shop", &n.to_string()), format!("10.96.1.{n}")))
}

#[test]
fn tables_grow_with_what_is_asked_for() {
    let chunk = skep_abi::SLOTS_PER_CHUNK;
    let grows = Capacity {
        slots: Room { size: chunk, limit: 4 * chunk },
        backends: [Room { size: 4, limit: skep_abi::BACKENDS_PER_CHUNK }; 2],
        ..CAPACITY
    };
    let mut planner = Planner::new(grows, Snapshot::default());
    let mut kernel = Tables { slots: vec![0; chunk as usize], ..Tables::default() };
    let now = Instant::now();
    planner.settle(now);
    // 512 slots each, so that 128 fill a chunk; all on three backends.
    for (number, (name, address)) in names(200).enumerate() {
        planner.set_service(&name, tables(&address, &[1, 2, 3]), now);
        let plan = planner.take_plan(now);
        let wanted = Extent { slots: 2 * chunk, backends: [4, 4] };
        assert_eq!(plan.extent, (number == 128).then_some(wanted), "Service {number}");
        kernel.apply(plan);
        assert_eq!(kernel.reach(&address, 80), [1, 2, 3]);
    }
    planner.set_service(&web(), tables("10.96.0.7", &[4, 5]), now);
    let plan = planner.take_plan(now);
    let wanted = Extent { slots: 2 * chunk, backends: [skep_abi::BACKENDS_PER_CHUNK, 4] };
    assert_eq!(plan.extent, Some(wanted));
    kernel.apply(plan);

    let slots = Room { size: 2 * chunk, limit: 4 * chunk };
    let mut planner = Planner::new(Capacity { slots, ..CAPACITY }, kernel.snapshot());
    names(200).for_each(|(n, at)| planner.set_service(&n, tables(&at, &[1, 2, 3]), now));
    planner.set_service(&web(), tables("10.96.0.7", &[4, 5]), now);
    planner.settle(now);
    assert_eq!(planner.take_plan(now), Plan::default(), "a restart finds what has grown");
}

#[test]
fn room_for_those_to_come_is_made_at_once_but_not_twice() {
    let chunk = skep_abi::SLOTS_PER_CHUNK;
    let grows = Capacity { slots: Room { size: chunk, limit: 8 * chunk }, ..CAPACITY };
    let mut planner = Planner::new(grows, Snapshot::default());
    let mut kernel = Tables { slots: vec![0; chunk as usize], ..Tables::default() };
    let now = Instant::now();
    let mut extents = Vec::new();
    for (number, (name, address)) in names(250).enumerate() {
        planner.set_service(&name, tables(&address, &[1, 2, 3]), now);
        planner.expect(249 - number);
        let plan = planner.take_plan(now);
        extents.extend(plan.extent.map(|extent| (number, extent.slots)));
        kernel.apply(plan);
    }
    assert_eq!(extents, [(0, 2 * chunk)], "250 runs of 512 slots");
    planner.settle(now);
    planner.expect(250);
    assert_eq!(planner.take_plan(now).extent, None, "they are there");

    let found = Capacity { slots: Room { size: 2 * chunk, limit: 8 * chunk }, ..CAPACITY };
    let mut planner = Planner::new(found, kernel.snapshot());
    planner.expect(250);
    assert_eq!(planner.take_plan(now).extent, None, "a restart finds them");
}

#[test]
fn without_memory_to_grow_others_are_served_until_there_is_some() {
    let chunk = skep_abi::SLOTS_PER_CHUNK;
    let grows = Capacity { slots: Room { size: chunk, limit: 2 * chunk }, ..CAPACITY };
    let mut planner = Planner::new(grows.without_growth(), Snapshot::default());
    let mut kernel = Tables { slots: vec![0; chunk as usize], ..Tables::default() };
    let (now, late) = (Instant::now(), ServiceName::new("shop", "late"));
    // 512 slots each: a chunk is full.
    names(128).for_each(|(n, at)| planner.set_service(&n, tables(&at, &[1, 2, 3]), now));
    planner.set_service(&late, tables("10.96.0.8", &[4, 5, 6]), now);
    kernel.apply(planner.take_plan(now));
    assert!(names(128).all(|(_, address)| kernel.reach(&address, 80) == [1, 2, 3]));
    let note = "the node's tables have no room for all of its endpoints".to_owned();
    assert_eq!(planner.refusals(&late), [("TablesFull", note)]);

    planner.set_limits(&grows);
    planner.set_service(&late, tables("10.96.0.8", &[4, 5, 6]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(planner.refusals(&late), []);
    assert_eq!(kernel.reach("10.96.0.8", 80), [4, 5, 6]);
}

#[test]
fn who_finds_no_room_for_its_addresses_is_told_and_others_are_unharmed() {
    // A row for the port and two for the rest of its address.
    let mut planner = Planner::new(capacity(4096, 64, 3), Snapshot::default());
    let mut kernel = Tables::default();
    let (now, late) = (Instant::now(), ServiceName::new("shop", "late"));
    planner.settle(now);
    planner.set_service(&web(), tables("10.96.0.7", &[1, 2]), now);
    planner.set_service(&late, tables("10.96.0.8", &[3]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(planner.refusals(&web()), []);
    let note = "the node's tables have no room for all of its addresses".to_owned();
    assert_eq!(planner.refusals(&late), [("TablesFull", note)]);
    assert_eq!(planner.service_rows(Family::V4), (3, 3));

    planner.set_service(&web(), tables("10.96.0.7", &[2, 7]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.reach("10.96.0.7", 80), [2, 7], "who has its rows changes as ever");
    // The rows of who goes are removed after the others are written: they make no room at once.
    planner.set_service(&web(), Vec::new(), now);
    planner.set_service(&late, tables("10.96.0.8", &[3]), now);
    kernel.apply(planner.take_plan(now));
    assert!(kernel.services.is_empty());
    planner.set_service(&late, tables("10.96.0.8", &[3]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(planner.refusals(&late), []);
    assert_eq!(kernel.reach("10.96.0.8", 80), [3]);
}

#[test]
fn a_row_that_goes_and_comes_back_before_it_is_removed_keeps_its_place() {
    let mut planner = Planner::new(capacity(4096, 64, 3), Snapshot::default());
    let mut kernel = Tables::default();
    let now = Instant::now();
    for _ in 0..2 {
        planner.set_service(&web(), tables("10.96.0.7", &[1]), now);
        kernel.apply(planner.take_plan(now));
        planner.set_service(&web(), Vec::new(), now);
    }
    planner.set_service(&web(), tables("10.96.0.7", &[1]), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!((planner.service_rows(Family::V4), planner.starved), ((3, 3), 0));
    assert_eq!(kernel.reach("10.96.0.7", 80), [1]);
}

#[test]
fn ranges_that_find_no_room_are_told() {
    let mut planner = Planner::new(Capacity { ranges: [1; 2], ..CAPACITY }, Snapshot::default());
    let mut kernel = Tables::default();
    let now = Instant::now();
    planner.settle(now);
    let mut ports = tables("192.0.2.1", &[1]);
    ports[0].frontends[0].1.ranged = true;
    ports[0].source_ranges =
        ["10.0.0.0/8", "192.0.2.0/24"].map(|range| range.parse().expect("range")).to_vec();
    planner.set_service(&web(), ports.clone(), now);
    kernel.apply(planner.take_plan(now));
    assert_eq!(kernel.ranges.len(), 1);
    let note = "the node's tables have no room for all of its source ranges".to_owned();
    assert_eq!(planner.refusals(&web()), [("TablesFull", note)]);
    ports[0].source_ranges.pop();
    planner.set_service(&web(), ports, now);
    assert_eq!(planner.refusals(&web()), []);
}
