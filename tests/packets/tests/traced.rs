//! The programs that explain are the programs that run: over every case of the table they come to the
//! same verdict and leave the same bytes, they ask their tables what the engine on the host asks its own,
//! and they write nothing.

use skep_abi::{Trace, TraceStep, V4, V6};
use skep_bpf::{Kind, Program, Tracer};
use skep_engine::{Ingress, Notes, Traced, decide};
use skep_packet::host::HostPacket;
use skep_packets_tests::{
    case::Case,
    cases,
    host::HostNode,
    kernel::{InTables, KernelNode, dump},
    world::InConfig,
};

/// What the engine asks of tables in ordinary memory, which a run without tracing then brings up to date.
fn steps_on_the_host<F: InConfig>(
    node: &HostNode<F>,
    program: Program,
    ifindex: u32,
    packet: &[u8],
) -> Vec<Trace> {
    let mut packet = HostPacket(packet.to_vec());
    let copy = node.0.clone();
    let traced = Traced::new(&copy, Notes::default());
    let hook = program.hook().expect("packet programs have a hook");
    let at = Ingress { ifindex, hook, from_peer: false };
    let verdict = decide::<F, _>(&mut packet, &traced, at).expect("cases are for packets");
    traced.notes().decided(verdict);
    traced.notes().steps()
}

/// Steps as far as both homes must agree: which slot a tuple hashes to is the same, as is all else.
fn comparable(steps: &[Trace]) -> Vec<String> {
    steps.iter().map(|step| format!("{step:?}")).collect()
}

fn traced_equals_untraced<F: InTables>(node: &KernelNode, tracer: &mut Tracer, case: &Case<F>) {
    node.set(&case.world).expect("the tables can be written");
    let host = HostNode::new(&case.world);
    for (number, step) in (1..).zip(&case.steps) {
        let place = format!("{} (v{}), packet {number}", case.name, F::VERSION);
        let before = dump::<F>(node.datapath().tables()).expect("the tables can be read");
        let (outcome, steps) = tracer
            .run(step.program, &step.packet, step.ifindex)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        let after = dump::<F>(node.datapath().tables()).expect("the tables can be read");
        assert_eq!(after, before, "{place}: a table was written");
        let verdict = steps.last().unwrap_or_else(|| panic!("{place}: no step was told"));
        assert_eq!(verdict.step, TraceStep::Verdict as u8, "{place}");
        let told = steps_on_the_host(&host, step.program, step.ifindex, &step.packet);
        assert_eq!(comparable(&steps), comparable(&told), "{place}: kernel, then host");

        let real = node.program(step.program).run(&step.packet, step.ifindex, 1).expect("it runs");
        assert_eq!((outcome.verdict, outcome.packet), (real.verdict, real.packet), "{place}");
        host.run(step.program, step.ifindex, &step.packet);
    }
}

#[test]
fn what_is_explained_is_what_happens() {
    let node = KernelNode::new().expect("a node of its own");
    let mut tracer = Tracer::open(node.pin_dir()).expect("the tables are pinned");
    let cases = cases::all::<V4>();
    assert!(cases.len() > 50, "the table has {} cases", cases.len());
    cases.iter().for_each(|case| traced_equals_untraced(&node, &mut tracer, case));
    cases::all::<V6>().iter().for_each(|case| traced_equals_untraced(&node, &mut tracer, case));
}

#[test]
fn the_verifier_is_soon_done() {
    let node = KernelNode::new().expect("a node of its own");
    let mut tracer = Tracer::open(node.pin_dir()).expect("the tables are pinned");
    for program in Program::ALL.into_iter().filter(|program| program.kind() != Kind::Socket) {
        let attached = node.program(program).verified_instructions().expect("the kernel tells");
        let traced = tracer.verified_instructions(program).expect("the kernel tells");
        println!("{:<16} {attached:>7} verified, traced {traced:>7}", program.name());
        // A node is ready once its programs are verified.
        assert!(attached < 120_000, "{}: {attached}", program.name());
        // The kernel gives up at a million.
        assert!(traced < 900_000, "{} with tracing: {traced}", program.name());
    }
}
