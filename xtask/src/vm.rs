//! Other kernels: what the verifier of each says to every program, and the tests for which this machine's kernel
//! has no sockets. Debian's kernels run in a virtual machine that sees this machine's files, read-only. Emulated:
//! never for timing.

mod guest;
mod kernel;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::build::{cargo, target_dir};
use crate::command::{capture, command, show};
use crate::machine;
use crate::progress::step;
use crate::vm::kernel::Kernel;

/// What the virtual machines need, and the Debian package that brings each.
const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("dpkg", "dpkg"),
    ("xz", "xz-utils"),
    ("busybox", "busybox-static"),
];

/// What is older than 6.6 has no TCX: there the programs for devices cannot be attached, loaded or not.
const KERNELS: &[Kernel] = &[
    Kernel { version: "6.1", package: "linux-image-amd64" },
    Kernel { version: "6.12", package: "linux-image-6.12-amd64" },
];

/// The kernel that has SCTP's sockets.
const WITH_SCTP: &str = "6.12";
/// The tests that need them.
const SCTP_TESTS: &str = "sctp";

/// A complaint that is known.
struct Gap {
    kernel: &'static str,
    /// Part of the verifier's words.
    complaint: &'static str,
    reason: &'static str,
}

const GAPS: &[Gap] = &[Gap {
    kernel: "6.1",
    complaint: "R2 type=mem expected=fp, pkt, pkt_meta, map_key, map_value",
    reason: "before 6.2, a function may not hand its caller's memory to a map as a key",
}];

/// Programs and what the verifier of one kernel says to each.
type Judgements = BTreeMap<String, String>;

/// Runs everything and prints the tables.
///
/// # Errors
/// When a verifier refuses a program, or a test fails.
pub(crate) fn run() -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "cargo xtask vm knows the kernels of x86-64 machines only"
    );
    machine::ensure_toolchain()?;
    machine::install(PROGRAMS)?;
    show(cargo().args(["build", "--package", "skep-packets-tests", "--example", "verify"]))?;
    let verify = target_dir().join("debug/examples/verify");
    let mut columns = vec![("this".to_owned(), judge(&capture_always(&verify)?)?)];
    for kernel in KERNELS {
        let named = || format!("Linux {}", kernel.version);
        let files = step(&named(), || kernel.fetch()).with_context(named)?;
        let output = guest::run(&files, &verify, &[]).with_context(named)?;
        let ended = || format!("Linux {}: it ended with status {}", kernel.version, output.status);
        columns.push((kernel.version.to_owned(), judge(&output.text).with_context(ended)?));
    }
    print_table(&columns);
    let mut gaps: Vec<usize> = vec![0; GAPS.len()];
    let mut refused: Vec<String> = Vec::new();
    for (kernel, judgements) in &columns {
        for (program, said) in judgements.iter().filter(|(_, said)| said.parse::<u64>().is_err()) {
            match GAPS.iter().position(|gap| gap.kernel == kernel && said.contains(gap.complaint)) {
                Some(gap) => gaps[gap] += 1,
                None => refused.push(format!("Linux {kernel}, {program}: {said}")),
            }
        }
    }
    for (gap, programs) in GAPS.iter().zip(gaps) {
        ensure!(programs > 0, "Linux {} no longer says {:?}: remove it", gap.kernel, gap.complaint);
        println!("Linux {} refuses {programs} programs: {}", gap.kernel, gap.reason);
    }
    ensure!(refused.is_empty(), "the verifier refuses programs:\n  {}", refused.join("\n  "));
    test_sctp()
}

/// Runs the tests that need SCTP's sockets.
fn test_sctp() -> Result<()> {
    let tests = sctp_tests()?;
    let kernel = KERNELS.iter().find(|kernel| kernel.version == WITH_SCTP);
    let files = kernel.context("no such kernel")?.fetch()?;
    let words = ["--ignored", "--test-threads", "1"];
    let output = step("SCTP from end to end", || guest::run(&files, &tests, &words))?;
    print!("{}", output.text);
    ensure!(output.status == 0, "tests fail under Linux {WITH_SCTP}");
    Ok(())
}

/// Builds them; the program that runs them.
fn sctp_tests() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["test", "--package", "skep-netns-tests", "--test", SCTP_TESTS, "--no-run"]);
    let messages = capture(build.args(["--message-format", "json"]))?;
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = built
        .filter(|message| message["target"]["name"] == SCTP_TESTS)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.context("cargo built no tests of SCTP")
}

/// A program's output, however it ends.
fn capture_always(program: &Path) -> Result<String> {
    let output = command([program]).output().with_context(|| program.display().to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn judge(output: &str) -> Result<Judgements> {
    let judgements: Judgements = output
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(program, said)| (program.to_owned(), said.to_owned()))
        .collect();
    if judgements.is_empty() {
        bail!("no program was judged: {output}");
    }
    Ok(judgements)
}

/// Instructions that each verifier walked.
fn print_table(columns: &[(String, Judgements)]) {
    let names: Vec<&str> = columns.iter().map(|(kernel, _)| kernel.as_str()).collect();
    println!("| Program | {} |", names.join(" | "));
    println!("| --- |{}", " --: |".repeat(columns.len()));
    let programs: BTreeSet<&String> =
        columns.iter().flat_map(|(_, column)| column.keys()).collect();
    for program in programs {
        let cell = |(_, column): &(String, Judgements)| match column.get(program) {
            Some(said) if said.parse::<u64>().is_ok() => said.clone(),
            Some(_) => "refused".to_owned(),
            None => "-".to_owned(),
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        println!("| {program} | {} |", cells.join(" | "));
    }
}
