//! What skep wants of a machine: checked before anything is changed, installed where the machine has a way.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::command::{capture, command, find, has_version, line, show};

/// The compiler of the eBPF half. Newer ones emit bitcode that [`BPF_LINKER`] refuses: move both together.
const NIGHTLY: &str = "nightly-2026-05-20";
const BPF_LINKER: &str = "0.10.4";

/// TCX, which the datapath attaches to, came with Linux 6.6.
const OLDEST_KERNEL: (u32, u32) = (6, 6);

/// Programs that a node or the suite runs, and the Debian package that brings each.
const PROGRAMS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("bpftool", "bpftool"),
    ("ethtool", "ethtool"),
    ("busybox", "busybox-static"),
    ("iptables-save", "iptables"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("kubectl", "kubernetes-client"),
    ("c++", "g++"),
];

/// Checks, then installs: programs, toolchains.
///
/// # Errors
/// Names what is missing and how to get it.
pub(crate) fn setup() -> Result<()> {
    check()?;
    install_programs()?;
    ensure_toolchain()
}

/// Everything that cannot be installed, and whether what can be has a way to come.
///
/// # Errors
/// One error that lists all that is missing.
pub(crate) fn check() -> Result<()> {
    let mut problems = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        problems.push(
            "root is needed (namespaces, BPF, mounts): run it as root, or with sudo -E".to_owned(),
        );
    }
    problems.extend(kernel_problem());
    for (path, feature) in [
        ("/proc/self/ns/net", "network namespaces (CONFIG_NET_NS)"),
        ("/proc/self/ns/cgroup", "cgroup namespaces (CONFIG_CGROUPS)"),
        ("/sys/fs/bpf", "the BPF file system (CONFIG_BPF_SYSCALL)"),
    ] {
        if !Path::new(path).exists() {
            problems.push(format!("the kernel lacks {feature}: {path} is not there"));
        }
    }
    if cgroup2().is_none() {
        problems.push(
            "no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified"
                .to_owned(),
        );
    }
    let missing = missing(PROGRAMS);
    if !missing.is_empty() && find("apt-get").is_none() {
        let list: Vec<String> = missing
            .iter()
            .map(|(program, package)| format!("{program} (Debian's package {package})"))
            .collect();
        problems.push(format!(
            "these programs are missing, and there is no apt-get to install them with: {}",
            list.join(", ")
        ));
    }
    problems.extend(rustup_problem());
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "this machine cannot run the cluster yet; nothing was changed:\n  - {}",
        problems.join("\n  - ")
    )
}

/// Where the cgroup2 tree is mounted: alone, or beside version 1's controllers.
pub(crate) fn cgroup2() -> Option<&'static Path> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new).into_iter().find(|folder| {
        folder.join("cgroup.procs").exists() && folder.join("cgroup.controllers").exists()
    })
}

/// Installs the missing programs with apt-get.
///
/// # Errors
/// With apt-get's words.
pub(crate) fn install_programs() -> Result<()> {
    install(PROGRAMS)
}

/// The same for a task with needs of its own: programs, and the Debian package that brings each.
///
/// # Errors
/// With apt-get's words.
pub(crate) fn install(programs: &[(&str, &str)]) -> Result<()> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    println!("installing {}", packages.join(" "));
    apt_get(&["update"])?;
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    words.extend(packages);
    apt_get(&words)
}

/// Installs the compiler and linker of the eBPF half and the target of the image's program.
///
/// # Errors
/// With rustup's or cargo's words.
pub(crate) fn ensure_toolchain() -> Result<()> {
    if let Some(problem) = rustup_problem() {
        bail!(problem);
    }
    if !toolchain_is_there() {
        println!("installing {NIGHTLY}");
        let words =
            ["rustup", "toolchain", "install", NIGHTLY, "--profile", "minimal", "-c", "rust-src"];
        capture(&mut command(words))?;
    }
    if !has_version("bpf-linker", BPF_LINKER) {
        println!("installing bpf-linker {BPF_LINKER}");
        let words = ["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force"];
        let features = ["--no-default-features", "--features", "rust-llvm-22"];
        show(
            command(["rustup", "run", NIGHTLY, "cargo"]).args(words).args(features).arg("--quiet"),
        )?;
    }
    let target = static_target();
    if !line("rustup target list --installed")?.contains(&target) {
        println!("installing the target {target}");
        capture(&mut command(["rustup", "target", "add", &target]))?;
    }
    Ok(())
}

/// The target of a program that runs in an empty image.
pub(crate) fn static_target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

fn rustup_problem() -> Option<String> {
    find("rustup").is_none().then(|| {
        format!("rustup is missing, which brings {NIGHTLY} for the eBPF half: see rustup.rs")
    })
}

fn toolchain_is_there() -> bool {
    line("rustup toolchain list").is_ok_and(|list| list.contains(NIGHTLY))
        && capture(Command::new("rustup").args([
            "component",
            "list",
            "--installed",
            "--toolchain",
            NIGHTLY,
        ]))
        .is_ok_and(|list| list.contains("rust-src"))
}

fn missing<'a>(programs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    programs.iter().filter(|(program, _)| find(program).is_none()).copied().collect()
}

fn kernel_problem() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < OLDEST_KERNEL).then(|| {
        format!(
            "Linux {} is too old: {}.{} or later is needed (Debian 12: linux-image-amd64 of bookworm-backports)",
            release.trim(),
            OLDEST_KERNEL.0,
            OLDEST_KERNEL.1
        )
    })
}

pub(crate) fn apt_get(words: &[&str]) -> Result<()> {
    capture(
        command(["apt-get", "--quiet=2"])
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .current_dir(build::root()),
    )
    .map(drop)
    .context("apt-get could not do it; `apt-get update` by hand tells more")
}
