//! The figures of SPECIFICATION.md, as tables: each a ratio to something measured in the same run, or a size.

mod footprint;
mod memory;
mod paths;
mod programs;
mod start;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::cluster::plane::Plane;
use crate::cluster::temporary::Temporary;
use crate::cluster::up::{self, Parts};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds of each path; medians are printed
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds of rest before memory is read
    #[arg(long, default_value_t = 30)]
    rest: u64,
    /// Folder of a harness that measures Katran's and Cilium's programs; its run.sh is run beside ours
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Only programs, footprint, start, memory or paths
    #[arg(long)]
    only: Option<String>,
}

/// Measures and prints.
///
/// # Errors
/// When something to be measured does not work.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    if wanted("programs") {
        println!("\n## Programs\n\n{}", programs::measure(options.peers.as_deref())?);
    }
    if wanted("footprint") {
        println!("\n## Kernel memory of a Service port\n\n{}", footprint::measure()?);
    }
    if !["start", "memory", "paths"].into_iter().any(wanted) {
        return Ok(());
    }
    let built = build::all()?;
    let cluster = Temporary::new("skep-bench")?;
    let layout = &cluster.0;
    let parts = Parts { nodes: 2, built: &built, plane: Plane::Skep, upstream: None };
    let started = start::measure(|| up::bring_up(layout, &parts), layout)?;
    if wanted("start") {
        println!("\n## Start\n\n{started}");
    }
    if wanted("memory") {
        println!("\n## Memory at rest\n\n{}", memory::measure(layout, options.rest)?);
    }
    if wanted("paths") {
        println!("\n## Paths\n\n{}", paths::measure(layout, options.rounds, options.seconds)?);
    }
    Ok(())
}
