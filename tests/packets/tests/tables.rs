//! The tables through their handles, on the kernel's own.

use skep_abi::{BACKENDS_PER_CHUNK, Backend, SLOTS_PER_CHUNK, V4, V6, backend_state, via};
use skep_bpf::{Error, Program, Swept, Timeouts};
use skep_packets_tests::{
    frame::{Frame, flags},
    kernel::KernelNode,
    world::{Front, NODE_PORT, Plan as _, SNAT_PORT, UPLINK, World},
};

#[test]
fn mapped_arrays_hold_what_is_written_at_both_ends_and_across_chunks() {
    let node = KernelNode::new().expect("a node of its own");
    let tables = node.datapath().tables();
    tables.v6.backends.grow(2 * BACKENDS_PER_CHUNK).expect("grown");
    for id in [1, BACKENDS_PER_CHUNK - 1, BACKENDS_PER_CHUNK, 2 * BACKENDS_PER_CHUNK - 1] {
        let backend = Backend::<V6> {
            addr: [id, 2, 3, 4],
            port_be: 80,
            state: backend_state::READY,
            ..Backend::default()
        };
        tables.v6.backends.set(id, &backend).expect("written");
        assert_eq!(tables.v6.backends.get(id).expect("read"), backend);
    }
    tables.slots.grow(3 * SLOTS_PER_CHUNK).expect("grown");
    let run: Vec<u32> = (1..=1_000).collect();
    for base in [0, SLOTS_PER_CHUNK - 500, 3 * SLOTS_PER_CHUNK - 1_000] {
        tables.slots.write(base, &run).expect("written");
        assert_eq!(tables.slots.read(base, 1_000).expect("read"), run);
    }
    assert_eq!(tables.slots.used().expect("read"), 3_000);
}

#[test]
fn what_is_outside_of_an_array_is_refused_and_changes_nothing() {
    let node = KernelNode::new().expect("a node of its own");
    let tables = node.datapath().tables();
    let slots = tables.slots.size().expect("read");
    let refused = tables.slots.write(slots - 1, &[7, 7]).expect_err("refused");
    assert!(matches!(refused, Error::OutOfRange { table: "slots", .. }), "{refused}");
    assert_eq!(tables.slots.read(slots - 1, 1).expect("read"), [0]);
    let backends = tables.v4.backends.size().expect("read");
    let refused = tables.v4.backends.set(backends, &Backend::default()).expect_err("refused");
    assert!(matches!(refused, Error::OutOfRange { table: "backends4", .. }), "{refused}");
}

#[test]
fn a_hash_table_reads_in_batches_what_was_written_in_batches() {
    let node = KernelNode::new().expect("a node of its own");
    let services = &node.datapath().tables().v4.services;
    let mut all: Vec<_> = (1..=2_000_u32)
        .map(|number| {
            let key = skep_abi::ServiceKey::<V4> { addr: [number], ..Default::default() };
            (key, skep_abi::Service { id: number, ..Default::default() })
        })
        .collect();
    services.insert_all(&all).expect("written");
    let mut read = services.entries().expect("read");
    read.sort_by_key(|(key, _)| key.addr);
    assert_eq!(read, all);
    let (first, _) = all.remove(0);
    assert!(services.remove(&first).expect("removed"));
    assert!(!services.remove(&first).expect("nothing there"));
    assert_eq!(services.entries().expect("read").len(), all.len());
}

#[test]
fn the_configuration_keeps_what_the_loader_found() {
    let node = KernelNode::new().expect("a node of its own");
    let tables = node.datapath().tables();
    let before = tables.config().expect("a value");
    assert!([100, 250, 300, 1000].contains(&before.ticks_per_s), "{}", before.ticks_per_s);
    tables
        .update_config(|config| *config = skep_abi::Config { vni: 5, ..Default::default() })
        .expect("written");
    let after = tables.config().expect("a value");
    assert_eq!(
        (after.vni, after.ticks_per_s, after.hash_seed),
        (5, before.ticks_per_s, before.hash_seed)
    );
}

#[test]
fn a_sweep_removes_both_directions_of_what_is_over_and_nothing_else() {
    let node = KernelNode::new().expect("a node of its own");
    let (front, service) = ((V4::node(), NODE_PORT), (V4::near_pod(), 8080));
    let world = World::<V4>::new()
        .service(Front::tcp(front.0, front.1), &[(service.0, service.1, via::PEER)]);
    node.set(&world).expect("the tables can be written");
    let (client, snat) = ((V4::client(), 5000), (V4::node(), SNAT_PORT));
    let packets = [
        Frame::<V4>::tcp(client, front, flags::SYN),
        Frame::tcp(service, snat, flags::SYN_ACK),
        Frame::tcp(client, front, flags::ACK),
    ];
    for packet in packets {
        node.run(Program::NodeIngress, UPLINK, &packet.bytes()).expect("runs");
    }
    let kept = node.datapath().sweep(&Timeouts::default()).expect("swept");
    assert_eq!(kept, Swept { kept: 2, removed: 0 });

    let at_once = Timeouts { tcp_s: 0, tcp_closed_s: 0, datagram_s: 0, echo_s: 0 };
    let swept = node.datapath().sweep(&at_once).expect("swept");

    assert_eq!(swept, Swept { kept: 0, removed: 2 });
    let tables = &node.datapath().tables().v4;
    assert!(tables.flows.entries().expect("read").is_empty());
    assert!(tables.snat.entries().expect("read").is_empty());
}
