//! What a packet costs: ns per run over a trivial program in the same run, and instructions that the
//! verifier walked.

use std::fmt;

use anyhow::Result;
use skep_abi::{V4, V6};
use skep_bpf::{Program, trivial_ns};

use crate::{
    case::Case,
    cases,
    kernel::{InTables, KernelNode},
};

/// Runs per measurement.
const REPEAT: u32 = 200_000;
/// Measurements, of which the median counts.
const ROUNDS: usize = 5;

/// The cost of one kind of packet at one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program.
    pub program: Program,
    /// IP version of the packet.
    pub version: u8,
    /// What packet it is.
    pub packet: &'static str,
    /// Median time of a run over that of a program that does nothing, in the same place.
    pub over_nothing_ns: u32,
    /// Median time of an XDP program that does nothing, in the same run: to compare machines by.
    pub trivial_ns: u32,
    /// Instructions that the verifier walked to accept the program.
    pub verified_instructions: u32,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16} IPv{} {:<50} {:>4} ns over nothing (trivial XDP {:>3} ns) {:>8} verified",
            self.program.name(),
            self.version,
            self.packet,
            self.over_nothing_ns,
            self.trivial_ns,
            self.verified_instructions
        )
    }
}

/// Measures established packets of the cases that [`cases::costs`] names. Moves the calling thread into
/// namespaces of its own; needs root.
pub fn run() -> Result<Vec<Cost>> {
    let kernel = KernelNode::new()?;
    let mut costs = Vec::new();
    costs.extend(family::<V4>(&kernel, &cases::costs::<V4>())?);
    costs.extend(family::<V6>(&kernel, &cases::costs::<V6>())?);
    Ok(costs)
}

fn family<F: InTables>(kernel: &KernelNode, cases: &[Case<F>]) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for case in cases {
        kernel.set(&case.world)?;
        let Some((last, before)) = case.steps.split_last() else { continue };
        for step in before {
            kernel.run(step.program, step.ifindex, &step.packet)?;
        }
        let program = kernel.program(last.program);
        let (mut over, mut trivial) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let measured = program.measure(&last.packet, last.ifindex, REPEAT)?;
            over.push(measured.ns.saturating_sub(measured.nothing_ns));
            trivial.push(trivial_ns(REPEAT)?);
        }
        costs.push(Cost {
            program: last.program,
            version: F::VERSION,
            packet: case.name,
            over_nothing_ns: median(over),
            trivial_ns: median(trivial),
            verified_instructions: program.verified_instructions()?,
        });
    }
    Ok(costs)
}

fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values[values.len() / 2]
}
