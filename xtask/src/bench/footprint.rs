//! Kernel memory of a Service port with ten backends, its slots apart.

use std::fmt::Write as _;

use anyhow::Result;

use crate::build::cargo;
use crate::command::capture;

/// The table of the packet tests' own measurement.
///
/// # Errors
/// When the tables cannot be made.
pub(super) fn measure() -> Result<String> {
    let words = ["run", "--quiet", "--package", "skep-packets-tests", "--example", "footprint"];
    let found = capture(cargo().args(words))?;
    let mut table = String::from(
        "| IP | a row of services, bytes | a backend | a Service port with ten | as `skep net maps` tells it |\n\
         | --- | --: | --: | --: | --: |\n",
    );
    for line in found.lines() {
        writeln!(table, "| {} |", line.split('\t').collect::<Vec<_>>().join(" | "))?;
    }
    Ok(table)
}
