//! Every case of the table, on the host and in the kernel.

use skep_abi::{V4, V6};
use skep_packets_tests::{
    case::Case,
    cases,
    host::HostNode,
    kernel::{InTables, KernelNode},
    world::InConfig,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn on_the_host<F: InConfig>(case: &Case<F>) {
    let node = HostNode::new(&case.world);
    for (number, step) in (1..).zip(&case.steps) {
        let (fate, out) = node.run(step.program, step.ifindex, &step.packet);
        let place = format!("{} (v{}), packet {number}, host", case.name, F::VERSION);
        assert_eq!(fate, step.fate, "{place}");
        assert_eq!(hex(&out), hex(&step.out), "{place}");
    }
}

fn in_the_kernel<F: InTables>(node: &KernelNode, case: &Case<F>) {
    node.set(&case.world).expect("the tables can be written");
    for (number, step) in (1..).zip(&case.steps) {
        let (fate, out) =
            node.run(step.program, step.ifindex, &step.packet).expect("the program runs");
        let place = format!("{} (v{}), packet {number}, kernel", case.name, F::VERSION);
        assert_eq!(fate, step.fate, "{place}");
        assert_eq!(hex(&out), hex(&step.out), "{place}");
    }
}

#[test]
fn the_engine_passes_the_table_on_the_host() {
    cases::all::<V4>().iter().for_each(on_the_host);
    cases::all::<V6>().iter().for_each(on_the_host);
}

#[test]
fn the_programs_pass_the_table_in_the_kernel() {
    let node = KernelNode::new().expect("a node of its own");
    cases::all::<V4>().iter().for_each(|case| in_the_kernel(&node, case));
    cases::all::<V6>().iter().for_each(|case| in_the_kernel(&node, case));
}
