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
    /// The packet.
    pub packet: &'static str,
    /// Median time of a run.
    pub ns: u32,
    /// The same of a program that does nothing, in the same run.
    pub trivial_ns: u32,
    /// Instructions that the verifier walked to accept the program.
    pub verified_instructions: u32,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.ns.saturating_sub(self.trivial_ns);
        write!(
            f,
            "{:<16} {:<44} {:>5} ns {:>5} over trivial {:>8} verified",
            self.program.name(),
            self.packet,
            self.ns,
            over,
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
        let (mut own, mut trivial) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(program.run_restored(&last.packet, last.ifindex, REPEAT)?);
            trivial.push(trivial_ns(REPEAT)?);
        }
        costs.push(Cost {
            program: last.program,
            packet: case.name,
            ns: median(own),
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
