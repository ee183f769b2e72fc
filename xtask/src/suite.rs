//! The whole test suite, from formatting to a cluster with kubectl: what CI runs, and nothing else.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::build::cargo;
use crate::command::{capture, command, find, show};
use crate::machine;

const CARGO_DENY: &str = "0.20.2";

/// Which part to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the steps whose name contains this
    #[arg(long)]
    only: Option<String>,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || capture(cargo().args(["fmt", "--all", "--check"])).map(drop)),
    ("lint", || {
        let words = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        show(cargo().args(words))
    }),
    ("dependencies", dependencies),
    ("tests", || show(cargo().args(["test", "--workspace", "--no-fail-fast"]))),
];

/// Runs every step, also after one has failed, and closes with a line that counts them.
///
/// # Errors
/// Names the steps that failed.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, step) in STEPS {
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let start = Instant::now();
        println!("\n=== {name}");
        match step() {
            Ok(()) => passed += 1,
            Err(error) => {
                println!("{error:#}");
                failed.push(*name);
            }
        }
        println!("=== {name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    println!("\nsteps: {passed} passed, {} failed", failed.len());
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// Checks and prepares the machine, then runs the suite.
///
/// # Errors
/// As [`run_all`].
pub(crate) fn run(options: &Options) -> Result<()> {
    machine::setup()?;
    run_all(options)
}

fn dependencies() -> Result<()> {
    let there = find("cargo-deny").and_then(|file| run_version(&file).ok());
    if !there.is_some_and(|version| version.contains(CARGO_DENY)) {
        show(cargo().args([
            "install",
            "--quiet",
            "--locked",
            "cargo-deny",
            "--version",
            CARGO_DENY,
        ]))?;
    }
    // The advisory database is not within reach of every machine that builds: licences, bans and sources are.
    show(cargo().args(["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]))
}

fn run_version(file: &std::path::Path) -> Result<String> {
    capture(command([file]).arg("--version"))
}
