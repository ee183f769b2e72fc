//! What a packet costs: ns per run over a program that does nothing in the same harness and the same
//! run, and instructions that the verifier walked.

mod path;

use std::fmt;

use anyhow::{Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use skep_abi::{V4, V6};
use skep_bpf::{Program, Sizes};

use self::path::{Moment, Path};
use crate::kernel::{InTables, KernelNode};

/// Runs per measurement: enough that tables of many flows are in the caches as far as they fit.
const REPEAT: u32 = 500_000;
/// Measurements, of which the median counts.
const ROUNDS: usize = 7;
/// Memory of the node whose table sizes are taken.
const MEMORY_BYTES: u64 = 16 << 30;

/// How much is in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections, all of which are visited in turn.
    pub flows: u32,
    /// Services.
    pub services: usize,
}

/// What is measured of each path.
pub const LOADS: [Load; 2] =
    [Load { flows: 1, services: 1 }, Load { flows: 65_536, services: 10_000 }];

/// The cost of one kind of packet at one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program.
    pub program: Program,
    /// IP version of the packet.
    pub version: u8,
    /// What way it takes.
    pub path: &'static str,
    /// Which packet of a connection it is.
    pub moment: &'static str,
    /// What is in the tables.
    pub load: Load,
    /// Median time of a run over that of a program that does nothing, in the same place.
    pub over_nothing_ns: u32,
    /// Median time of the program that does nothing: to compare machines by.
    pub nothing_ns: u32,
    /// Instructions that the verifier walked to accept the program.
    pub verified_instructions: u32,
}

impl fmt::Display for Cost {
    /// Fields between tabulators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            self.program.name(),
            self.path,
            self.moment,
            self.version,
            self.load.flows,
            self.load.services,
            self.over_nothing_ns,
            self.nothing_ns,
            self.verified_instructions
        )
    }
}

/// Measures all paths, or those through one program, and gives each cost to `report` as it is known. Moves the calling thread into
/// namespaces of its own and to the last processor; needs root.
pub fn run(only: Option<&str>, mut report: impl FnMut(&Cost)) -> Result<()> {
    stay_on_last_processor()?;
    let kernel = KernelNode::with_sizes(&Sizes::for_memory(MEMORY_BYTES))?;
    kernel.reach_world()?;
    let wanted = |program: Program| only.is_none_or(|only| only == program.name());
    for load in LOADS {
        for path in path::all::<V4>() {
            if wanted(path.program().0) {
                measure(&kernel, &path, load)?.iter().for_each(&mut report);
            }
        }
        for path in path::all::<V6>() {
            if wanted(path.program().0) {
                measure(&kernel, &path, load)?.iter().for_each(&mut report);
            }
        }
    }
    Ok(())
}

fn stay_on_last_processor() -> Result<()> {
    let count = std::thread::available_parallelism()?.get();
    let mut last = CpuSet::new();
    last.set(count - 1)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &last)?)
}

fn measure<F: InTables>(kernel: &KernelNode, path: &Path<F>, load: Load) -> Result<Option<Cost>> {
    if path.moment == Moment::Reply && load.flows > 1 {
        // The tuples of replies have no order to visit them in.
        return Ok(None);
    }
    kernel.set(&path.world(load.services))?;
    let packet = path.open(kernel, load.flows)?;
    let (program, ifindex) = path.program();
    let run = kernel.program(program);
    let (mut over, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        kernel.near_by_same_device()?;
        let measured = run.measure(&packet, ifindex, path.flows(load.flows), REPEAT)?;
        let sent = kernel.is_sent(program, measured.verdict);
        ensure!(sent, "{}: verdict {}", path.name, measured.verdict);
        over.push(measured.ns.saturating_sub(measured.nothing_ns));
        nothing.push(measured.nothing_ns);
    }
    Ok(Some(Cost {
        program,
        version: F::VERSION,
        path: path.name,
        moment: match path.moment {
            Moment::Established => "established",
            Moment::Reply => "reply",
            Moment::New => "new",
        },
        load,
        over_nothing_ns: median(over),
        nothing_ns: median(nothing),
        verified_instructions: run.verified_instructions()?,
    }))
}

fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values[values.len() / 2]
}
