//! What each BPF program costs a packet, beside a trivial program in the same run.

use anyhow::Result;

use crate::build::cargo;
use crate::command::capture;

/// The table of the packet tests' own benchmark.
///
/// # Errors
/// When the programs cannot be loaded.
pub(super) fn measure() -> Result<String> {
    let words =
        ["run", "--quiet", "--release", "--package", "skep-packets-tests", "--example", "costs"];
    capture(cargo().args(words))
}
