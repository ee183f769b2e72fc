//! Looks for bytes that a parser, a codec or the engine does not bear: tests/fuzz under libFuzzer.
//!
//! The stable compiler does: coverage counters are a pass of LLVM, and no address sanitizer is wanted,
//! because the targets hold no `unsafe`. What was learnt stays in target/fuzz for the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{cargo, target_dir};
use crate::command::{capture, command, line, show};
use crate::machine;

/// The targets of tests/fuzz.
const TARGETS: &[&str] = &["packet", "engine", "protobuf", "json"];
/// How long each runs as a step of the suite.
const BRIEFLY_S: u32 = 8;
/// What cargo-fuzz gives the compiler for coverage: counters in line, a table of places, and comparisons
/// reported, so that libFuzzer can solve them.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What to fuzz.
#[derive(Args)]
pub(crate) struct Options {
    /// packet, engine, protobuf or json; all when not given
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Option<String>,
    /// How long, for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Fuzzes as told.
///
/// # Errors
/// When something was found: names the file that holds the bytes.
pub(crate) fn run(options: &Options) -> Result<()> {
    machine::install_programs()?;
    let program = build()?;
    for target in
        TARGETS.iter().filter(|name| options.target.as_deref().is_none_or(|own| own == **name))
    {
        println!("{target}: {} s", options.seconds);
        show(&mut driver(&program, target, options.seconds)?).with_context(|| found(target))?;
    }
    Ok(())
}

/// The step of the suite: every target for a few seconds, all side by side.
///
/// # Errors
/// As [`run`].
pub(crate) fn briefly() -> Result<()> {
    let program = build()?;
    let runs = TARGETS.iter().map(|target| {
        let mut driver = driver(&program, target, BRIEFLY_S)?;
        Ok(std::thread::spawn(move || {
            capture(&mut driver).with_context(|| found(target)).map(drop)
        }))
    });
    let runs: Vec<_> = runs.collect::<Result<_>>()?;
    let problems: Vec<String> = runs
        .into_iter()
        .filter_map(|run| run.join().expect("a driver's thread does not panic").err())
        .map(|error| format!("{error:#}"))
        .collect();
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

fn folder() -> PathBuf {
    target_dir().join("fuzz")
}

fn found(target: &str) -> String {
    let folder = folder().join("found").join(target);
    format!("{target}: a property does not hold; the bytes are in {}", folder.display())
}

/// Builds for a named target, even if it is this machine's: build scripts then go without counters.
fn build() -> Result<PathBuf> {
    let compiler = line("rustc -vV")?;
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let words = ["build", "--profile", "fuzz", "--package", "skep-fuzz", "--features", "driver"];
    let mut build = cargo();
    build.args(words).args(["--target", host, "--target-dir"]).arg(folder());
    show(build.env("RUSTFLAGS", COVERAGE.join(" ")))?;
    Ok(folder().join(host).join("fuzz/skep-fuzz"))
}

/// libFuzzer with what earlier runs have learnt.
fn driver(program: &Path, target: &str, seconds: u32) -> Result<Command> {
    let [learnt, seeds, found] =
        ["learnt", "seeds", "found"].map(|name| folder().join(name).join(target));
    for folder in [&learnt, &seeds, &found] {
        fs::create_dir_all(folder)?;
    }
    let mut driver = command([program]);
    driver.env("SKEP_FUZZ_TARGET", target).env("SKEP_FUZZ_SEEDS", &seeds);
    driver.arg(format!("-max_total_time={seconds}"));
    driver.arg(format!("-artifact_prefix={}/", found.display()));
    driver.arg(format!("-dict={}", seeds.with_extension("words").display()));
    driver.args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-print_final_stats=1"]);
    driver.args([learnt, seeds]);
    Ok(driver)
}
