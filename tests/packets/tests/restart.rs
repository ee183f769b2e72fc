//! What a restart of the agent keeps, and what it cleans up.

use std::process::Command;

use skep_abi::V4;
use skep_bpf::{Datapath, Program, Sizes, XdpMode};
use skep_packets_tests::{
    case::Fate,
    frame::{Frame, flags},
    kernel::KernelNode,
    world::{Front, POD_A, POD_B, Plan as _, UPLINK, World},
};

fn world() -> World<V4> {
    let front = Front::tcp(V4::service(1), 80);
    World::new().service(front, &[(V4::pod_b(), 8080, skep_abi::via::POD)])
}

#[test]
fn a_second_load_keeps_tables_connections_and_attachments() {
    let node = KernelNode::new().expect("a node of its own");
    node.set(&world()).expect("the tables can be written");
    let links = node.datapath().links();
    links.attach_pod("dev11", POD_A).expect("attached");
    links.attach_node("dev10", UPLINK).expect("attached");
    let before = links.list().expect("a list");
    assert_eq!(before.len(), 4);
    let open = Frame::<V4>::tcp((V4::pod_a(), 4000), (V4::service(1), 80), flags::SYN);
    node.run(Program::PodIngress, POD_A, &open.bytes()).expect("a connection");

    let again = Datapath::open_or_load(node.pin_dir(), &Sizes::for_memory(0)).expect("loads again");

    assert_eq!(again.links().list().expect("a list"), before);
    assert_eq!(
        again.tables().config().expect("a value"),
        node.datapath().tables().config().expect("a value")
    );
    assert_eq!(again.tables().v4.embryos.entries().expect("entries").len(), 2);
    // The connection goes on through the programs of the second load.
    let reply = Frame::<V4>::tcp((V4::pod_b(), 8080), (V4::pod_a(), 4000), flags::SYN_ACK);
    let run = skep_bpf::TestRun::open(node.pin_dir(), Program::PodIngress).expect("pinned");
    let outcome = run.run(&reply.bytes(), POD_B, 1).expect("runs");
    let expected = Frame::<V4>::tcp((V4::service(1), 80), (V4::pod_a(), 4000), flags::SYN_ACK);
    assert_eq!(outcome.packet, expected.hop().bytes());
}

#[test]
fn a_load_removes_attachments_of_devices_that_are_gone() {
    let node = KernelNode::new().expect("a node of its own");
    let links = node.datapath().links();
    links.attach_pod("dev11", POD_A).expect("attached");
    links.attach_pod("dev12", POD_B).expect("attached");
    let deleted = Command::new("ip").args(["link", "del", "dev11"]).status().expect("ip runs");
    assert!(deleted.success());
    let gone = links.list().expect("a list");
    assert!(gone.iter().filter(|link| link.name == "dev11").all(|link| link.ifindex == 0));

    let again = Datapath::open_or_load(node.pin_dir(), &Sizes::for_memory(0)).expect("loads again");

    let names: Vec<_> =
        again.links().list().expect("a list").into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["dev12", "dev12"]);
}

#[test]
fn attaching_twice_is_attaching_once() {
    let node = KernelNode::new().expect("a node of its own");
    let links = node.datapath().links();
    for _ in 0..2 {
        links.attach_pod("dev11", POD_A).expect("attached");
    }
    assert_eq!(links.list().expect("a list").len(), 2);
    assert!(links.detach("dev11").expect("detached"));
    assert!(!links.detach("dev11").expect("nothing left"));
}

/// Killed after the kernel had the link, and before its pin had its name.
#[test]
fn an_attachment_that_was_cut_short_does_not_stand_in_the_way() {
    let node = KernelNode::new().expect("a node of its own");
    let links = node.datapath().links();
    let attach = |what: &str| {
        links.attach_node("dev10", UPLINK).unwrap_or_else(|error| panic!("{what}: {error}"));
        let xdp = links.attach_xdp("dev10", UPLINK, XdpMode::Generic);
        xdp.unwrap_or_else(|error| panic!("{what}: {error}"));
    };
    attach("first");
    let pins = node.pin_dir().join("links");
    for program in ["node_ingress", "node_egress", "node_xdp"] {
        let pin = pins.join(format!("dev10-{program}"));
        std::fs::rename(&pin, format!("{}_new", pin.display())).expect("renamed");
    }
    attach("again");
    assert_eq!(links.list().expect("a list").len(), 3);
    assert_eq!(std::fs::read_dir(&pins).expect("a folder").count(), 3, "nothing is left over");
}

#[test]
fn tools_open_the_tables_without_loading() {
    let node = KernelNode::new().expect("a node of its own");
    node.set(&world()).expect("the tables can be written");
    let tables = skep_bpf::Tables::open(node.pin_dir()).expect("pinned tables");
    assert_eq!(tables.v4.services.entries().expect("entries").len(), 2);
    assert_eq!(tables.slots.read(0, 1).expect("a slot"), [1]);
    assert_eq!(tables.v4.backends.get(1).expect("a backend").addr, V4::pod_b());
    let syn = Frame::<V4>::tcp((V4::pod_a(), 4000), (V4::pod_b(), 80), flags::SYN);
    let (fate, _) = node.run(Program::PodIngress, POD_A, &syn.bytes()).expect("runs");
    assert_eq!(fate, Fate::Redirect);
    let counted = tables.counters.get(skep_abi::Hook::PodIngress, skep_abi::Reason::Forwarded);
    assert_eq!(counted.expect("a counter").packets, 1);
}

#[test]
fn a_folder_on_another_file_system_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = Datapath::open_or_load(dir.path(), &Sizes::for_memory(0)).expect_err("refused");
    assert!(matches!(error, skep_bpf::Error::NotBpffs(_)), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
}
