//! The whole test suite, from formatting to a cluster with kubectl: what CI runs, and nothing else.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, cargo};
use crate::cluster::plane::Plane;
use crate::cluster::temporary::Temporary;
use crate::cluster::up::{self, Parts};
use crate::command::{capture, command, find, has_version, show};
use crate::{codegen, fuzz, interop, machine, proof, upstream};

const CARGO_DENY: &str = "0.20.2";
const SKIPPED: &str =
    "skipped: generated tables, interoperation with upstream's programs, tests with its kubectl";

/// Which part to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the steps whose name contains this
    #[arg(long)]
    only: Option<String>,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || {
        capture(cargo().args(["fmt", "--all", "--check"]))?;
        // Outside the workspace, because it is built for another machine.
        let programs = ["rustfmt", "--check", "--edition", "2024", "ebpf/programs/src/main.rs"];
        capture(command(programs).current_dir(build::root())).map(drop)
    }),
    ("lint", || {
        let words = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        show(cargo().args(words))
    }),
    ("dependencies", dependencies),
    ("generated tables", || unless_skipped(|| codegen::run(true))),
    ("tests", || {
        let words = ["test", "--workspace", "--exclude", "skep-cluster-tests", "--no-fail-fast"];
        show(cargo().args(words))
    }),
    ("fuzz", fuzz::briefly),
    ("cluster", cluster),
    ("interop", || unless_skipped(interop::run)),
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
    if let Some(obstacle) = upstream::obstacle() {
        println!("\n{SKIPPED}: {obstacle}");
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

/// A cluster of three nodes, proven, then seen with the machine's kubectl and with that of the release it speaks.
fn cluster() -> Result<()> {
    let built = build::all()?;
    let cluster = Temporary::new("skep-test")?;
    let parts = Parts { nodes: 3, built: &built, plane: Plane::Skep, upstream: None };
    up::bring_up(&cluster.0, &parts)?;
    println!("{}", proof::prove(&cluster.0)?);
    let tests = |kubectl: &Path, more: &[&str]| {
        let words = ["test", "--package", "skep-cluster-tests", "--no-fail-fast"];
        show(
            cargo()
                .args(words)
                .args(more)
                .env("SKEP_UP", &cluster.0.name)
                .env("SKEP_TEST_KUBECONFIG", cluster.0.kubeconfig())
                .env("SKEP_TEST_KUBECTL", kubectl)
                .env("SKEP_TEST_XTASK", std::env::current_exe()?),
        )
    };
    if upstream::obstacle().is_none() {
        let kubectl = upstream::build()?.join("kubectl");
        tests(&kubectl, &["--test", "kubectl"])?;
    }
    tests(&find("kubectl").context("kubectl is missing")?, &[])
}

/// Runs what needs upstream's sources or programs, where Go is there to get them.
fn unless_skipped(step: impl FnOnce() -> Result<()>) -> Result<()> {
    match upstream::obstacle() {
        Some(obstacle) => {
            println!("{SKIPPED}: {obstacle}");
            Ok(())
        }
        None => step(),
    }
}

fn dependencies() -> Result<()> {
    if !has_version("cargo-deny", CARGO_DENY) {
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
