//! Tables that grow under the programs that read them.

use skep_abi::{BACKENDS_PER_CHUNK, Backend, Hook, Reason, SLOTS_PER_CHUNK, Service, V4, V6, via};
use skep_bpf::{Datapath, Error, Program, Sizes, TestRun};
use skep_packet::{host::HostPacket, parse};
use skep_packets_tests::{
    case::Fate,
    footprint::{BACKENDS, Footprint},
    frame::{Frame, flags},
    kernel::{InTables, KernelNode},
    world::{Front, POD_A, Plan as _, World},
};

/// Where the Service's backend listens before.
const BEFORE: u16 = 8080;
/// And after: a backend in the second chunk.
const AFTER: u16 = 9090;
const SECOND_CHUNK: u32 = BACKENDS_PER_CHUNK + 7;

fn world<F: InTables>() -> World<F> {
    let front = Front::tcp(F::service(1), 80);
    World::new().service(front, &[(F::pod_b(), BEFORE, via::POD)])
}

/// The port of the backend that gets a packet of pod A's to the Service.
fn reached<F: InTables>(run: &TestRun, port: u16, flags: u8) -> u16 {
    let packet = Frame::<F>::tcp((F::pod_a(), port), (F::service(1), 80), flags).bytes();
    let outcome = run.run(&packet, POD_A, 1).expect("runs");
    let headers = parse::<F>(&HostPacket(outcome.packet)).expect("headers");
    assert_eq!(headers.dst, F::pod_b());
    u16::from_be(headers.dport_be)
}

/// Writes a backend and a run of it, and makes the Service's rows lead there.
fn flip<F: InTables>(node: &KernelNode, slot_base: u32) {
    let all = node.datapath().tables();
    let tables = F::of(all);
    let backend = Backend::<F> { port_be: AFTER.to_be(), ..tables.backends.get(1).expect("read") };
    tables.backends.set(SECOND_CHUNK, &backend).expect("written");
    all.slots.write(slot_base, &[SECOND_CHUNK; 4]).expect("written");
    for (key, row) in tables.services.entries().expect("read") {
        let row = Service { slot_base, slot_count: 4, ..row };
        tables.services.insert(&key, &row).expect("written");
    }
}

fn grows_under_packets<F: InTables>() {
    let node = KernelNode::new().expect("a node of its own");
    node.set(&world::<F>()).expect("the tables can be written");
    let run = node.program(Program::PodIngress);
    assert_eq!(reached::<F>(run, 4000, flags::SYN), BEFORE);

    let all = node.datapath().tables();
    let tables = F::of(all);
    all.slots.grow(2 * SLOTS_PER_CHUNK + 1).expect("grown");
    tables.backends.grow(SECOND_CHUNK + 1).expect("grown");
    assert_eq!(all.slots.size().expect("read"), 3 * SLOTS_PER_CHUNK);
    assert_eq!(tables.backends.size().expect("read"), 2 * BACKENDS_PER_CHUNK);
    assert_eq!(reached::<F>(run, 4001, flags::SYN), BEFORE, "nothing has moved");

    // The run lies across two chunks that were not there before.
    flip::<F>(&node, 2 * SLOTS_PER_CHUNK - 2);
    for port in 5000..5100 {
        assert_eq!(reached::<F>(run, port, flags::SYN), AFTER, "a new connection");
    }
    assert_eq!(reached::<F>(run, 4000, flags::ACK), BEFORE, "an old one");

    // A restarted agent finds the chunks through the array, and adds to them.
    let again = Datapath::open_or_load(node.pin_dir(), &Sizes::for_memory(0)).expect("loads again");
    let (all, tables) = (again.tables(), F::of(again.tables()));
    assert_eq!(all.slots.size().expect("read"), 3 * SLOTS_PER_CHUNK);
    assert_eq!(
        all.slots.read(2 * SLOTS_PER_CHUNK - 2, 4).expect("read"),
        [SECOND_CHUNK; 4],
        "in both chunks"
    );
    assert_eq!(tables.backends.get(SECOND_CHUNK).expect("read").port_be, AFTER.to_be());
    let run = TestRun::open(node.pin_dir(), Program::PodIngress).expect("pinned");
    assert_eq!(reached::<F>(&run, 6000, flags::SYN), AFTER);
    assert_eq!(reached::<F>(&run, 4000, flags::ACK), BEFORE);
    all.slots.grow(4 * SLOTS_PER_CHUNK).expect("grown");
    flip::<F>(&node, 4 * SLOTS_PER_CHUNK - 4);
    assert_eq!(reached::<F>(&run, 6001, flags::SYN), AFTER, "by way of a chunk of another process");
}

#[test]
fn tables_grow_under_packets_and_a_restart_finds_them_v4() {
    grows_under_packets::<V4>();
}

#[test]
fn tables_grow_under_packets_and_a_restart_finds_them_v6() {
    grows_under_packets::<V6>();
}

#[test]
fn a_slot_in_a_chunk_that_is_not_there_is_a_counted_drop() {
    let node = KernelNode::new().expect("a node of its own");
    node.set(&world::<V4>()).expect("the tables can be written");
    let all = node.datapath().tables();
    let counted = || {
        let counter = all.counters.get(Hook::PodIngress, Reason::InvalidBackend);
        counter.expect("a counter").packets
    };
    for (slot_base, drops) in [(SLOTS_PER_CHUNK, 1), (u32::MAX - 1, 2)] {
        for (key, row) in all.v4.services.entries().expect("read") {
            all.v4.services.insert(&key, &Service { slot_base, ..row }).expect("written");
        }
        let syn = Frame::<V4>::tcp((V4::pod_a(), 4000), (V4::service(1), 80), flags::SYN);
        let (fate, _) = node.run(Program::PodIngress, POD_A, &syn.bytes()).expect("runs");
        assert_eq!((fate, counted()), (Fate::Drop, drops), "slot {slot_base}");
    }
}

#[test]
fn no_table_grows_beyond_its_limit() {
    let node = KernelNode::new().expect("a node of its own");
    let tables = node.datapath().tables();
    let limit = tables.v4.backends.limit();
    assert_eq!(limit, Sizes::for_memory(0).backends);
    let refused = tables.v4.backends.grow(limit + 1).expect_err("refused");
    assert!(matches!(refused, Error::OutOfRange { table: "backends4", .. }), "{refused}");
    assert_eq!(tables.v4.backends.size().expect("read"), BACKENDS_PER_CHUNK, "none was added");
    tables.v4.backends.grow(limit).expect("grown");
    assert_eq!(tables.v4.backends.size().expect("read"), limit);
}

#[test]
fn a_service_port_with_ten_backends_takes_less_than_400_bytes() {
    let node = KernelNode::new().expect("a node of its own");
    let v4 = Footprint::measure::<V4>(&node).expect("measured");
    let v6 = Footprint::measure::<V6>(&node).expect("measured");
    assert!(v4.port() < 400, "{v4:?}");
    // What people are told has what the kernel's allocator rounds up to, and misses the pages' ends.
    for (found, told) in [
        (v4, skep_bpf::service_port_bytes::<V4>(BACKENDS as usize)),
        (v6, skep_bpf::service_port_bytes::<V6>(BACKENDS as usize)),
    ] {
        let told = told as u64;
        assert!(found.port().abs_diff(told) * 10 < told, "{found:?}, {told} told");
    }
    assert!(skep_bpf::service_port_bytes::<V4>(BACKENDS as usize) < 400);
}
