//! Prints what a Service port with ten backends takes of the kernel's memory, measured and as `skep net maps`
//! tells it. Needs root.

use skep_abi::{Family, V4, V6};
use skep_packets_tests::{
    footprint::{BACKENDS, Footprint},
    kernel::{InTables, KernelNode},
};

fn main() -> anyhow::Result<()> {
    let node = KernelNode::new()?;
    print::<V4>(&node)?;
    print::<V6>(&node)
}

/// Fields between tabulators.
fn print<F: InTables + Family>(node: &KernelNode) -> anyhow::Result<()> {
    let found = Footprint::measure::<F>(node)?;
    let told = skep_bpf::service_port_bytes::<F>(BACKENDS as usize);
    println!("{}\t{}\t{}\t{}\t{told}", found.version, found.row, found.backend, found.port());
    Ok(())
}
