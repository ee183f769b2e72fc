//! `skep net explain` changes nothing: not a table, not a counter.

use clap::Parser;
use skep_abi::{V4, V6, service_flags, via};
use skep_bpf::Program;
use skep_packets_tests::{
    frame::{Frame, flags},
    kernel::{InTables, KernelNode, dump},
    world::{Front, NODE_PORT, POD_A, UPLINK, World},
};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: skep_inspect::Command,
}

/// What `skep net explain` prints on the node.
fn explain(node: &KernelNode, words: &[&str]) -> String {
    let (pins, empty) = (node.pin_dir().to_string_lossy(), tempfile::tempdir().expect("a folder"));
    let empty = empty.path().to_string_lossy();
    let folders = ["--bpf-dir", &*pins, "--run-dir", &*empty];
    let line = Line::try_parse_from([&["net", "explain"], words, &folders].concat());
    let mut out = Vec::new();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(skep_inspect::run(line.expect("a command").command, &mut out))
        .unwrap_or_else(|error| panic!("{words:?}: {error:#}"));
    String::from_utf8(out).expect("text")
}

fn leaves_no_trace<F: InTables>() {
    let node = KernelNode::new().expect("a node of its own");
    let sticky = Front { flags: service_flags::AFFINITY, ..Front::tcp(F::service(1), 80) };
    let mut world = World::<F>::new()
        .service(sticky, &[(F::pod_b(), 8080, via::POD)])
        .service(Front::tcp(F::node(), NODE_PORT), &[(F::near_pod(), 8080, via::PEER)])
        .service(Front::tcp(F::service(2), 80), &[])
        .rejecting(F::service(1));
    world.config.snat_ports.max += 100;
    node.set(&world).expect("the tables can be written");
    // A connection of a pod that is known, one that grows with its next packet, and one that is closed.
    let syn = |port| Frame::<F>::tcp((F::pod_a(), port), (F::service(1), 80), flags::SYN);
    let answer = |port| Frame::tcp((F::pod_b(), 8080), (F::pod_a(), port), flags::SYN_ACK);
    let end = Frame::tcp((F::pod_a(), 4001), (F::service(1), 80), flags::FIN_ACK);
    let from_b = skep_packets_tests::world::POD_B;
    for (device, packet) in [
        (POD_A, syn(4000)),
        (from_b, answer(4000)),
        (POD_A, syn(4001)),
        (from_b, answer(4001)),
        (POD_A, end),
    ] {
        node.run(Program::PodIngress, device, &packet.bytes()).expect("runs");
    }
    let outside = Frame::<F>::tcp((F::client(), 4000), (F::node(), NODE_PORT), flags::SYN);
    node.run(Program::NodeIngress, UPLINK, &outside.bytes()).expect("runs");
    let before = dump::<F>(node.datapath().tables()).expect("the tables can be read");
    assert!(before.iter().any(|line| line.starts_with("sources")), "a client is bound");
    assert!(before.iter().any(|line| line.starts_with("flows")), "a connection is established");

    let at =
        |addr: F::Addr, port: u16| std::net::SocketAddr::new(F::addr_to_ip(addr), port).to_string();
    let (pod, client) =
        (F::addr_to_ip(F::pod_a()).to_string(), F::addr_to_ip(F::client()).to_string());
    // (from, to, source port, a word of the answer)
    let questions = [
        (&pod, at(F::service(1), 80), "4000", "known already"),
        (&pod, at(F::service(1), 80), "4001", "reaches pod"),
        (&pod, at(F::service(1), 80), "5000", "reaches pod"),
        (&pod, at(F::service(1), 81), "5000", "refused at once"),
        (&pod, at(F::service(2), 80), "5000", "refused at once"),
        (&pod, at(F::service(3), 80), "5000", "dropped"),
        (&pod, at(F::far_pod(), 80), "5000", "through VXLAN"),
        (&pod, at(F::client(), 80), "5000", "leaves the cluster"),
        (&client, at(F::node(), NODE_PORT), "4000", "known already"),
        (&client, at(F::node(), NODE_PORT), "5000", "leaves for node"),
        (&client, at(F::service(2), 80), "5000", "refused at once"),
    ];
    for (number, (from, to, port, word)) in questions.into_iter().enumerate() {
        let mut words = vec![&*to, "--from", from, "--source-port", port];
        // Each load takes the verifier a second; that programs which explain write nothing is shown for
        // all cases by the test of traced programs.
        if number > 0 {
            words.push("--on-host");
        }
        let told = explain(&node, &words);
        assert!(told.contains(word), "{from} to {to}: {told}");
        assert_eq!(
            dump::<F>(node.datapath().tables()).expect("the tables can be read"),
            before,
            "{from} to {to}"
        );
    }
}

#[test]
fn explaining_leaves_no_trace() {
    leaves_no_trace::<V4>();
}

#[test]
fn explaining_leaves_no_trace_for_ipv6() {
    leaves_no_trace::<V6>();
}
