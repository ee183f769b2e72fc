//! Resident memory of the control plane and of an agent after a rest.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::layout::Layout;
use crate::command::{capture, command};

/// A table of each skep process on each node.
///
/// # Errors
/// When a process cannot be read.
pub(super) fn measure(layout: &Layout, rest_s: u64) -> Result<String> {
    std::thread::sleep(Duration::from_secs(rest_s));
    let mut table = String::from(
        "| process | resident, MiB | proportional, MiB | anonymous, MiB |\n| --- | --: | --: | --: |\n",
    );
    for node in ["n1", "n2"] {
        let inside = layout.inside(node)?;
        let find = "for f in /run/skep/*.pid; do echo $(basename $f .pid) $(cat $f); done";
        let listing = capture(command(inside).args(["sh", "-c", find]))?;
        for line in listing.lines() {
            let (name, pid) = line.split_once(' ').context("a line has a name and a process")?;
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
                .with_context(|| format!("{name} of {node} does not run"))?;
            let mib = |field: &str| {
                let line = text.lines().find(|line| line.starts_with(field));
                let kib = line.and_then(|line| line.split_whitespace().nth(1));
                kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
            };
            writeln!(
                table,
                "| {name} of {node} | {:.1} | {:.1} | {:.1} |",
                mib("Rss:"),
                mib("Pss:"),
                mib("Anonymous:")
            )?;
        }
    }
    Ok(table)
}
