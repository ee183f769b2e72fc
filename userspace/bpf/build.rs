//! Builds ebpf/programs for the kernel, with the toolchain it is pinned to, and leaves the object where
//! the crate embeds it from.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use object::{
    build::elf::{Builder, SectionData},
    elf,
};

/// The compiler; its LLVM has to be the linker's.
const TOOLCHAIN: &str = "nightly-2026-05-20";
const LINKER: &str = "bpf-linker 0.10.4";
const TARGET: &str = "bpfel-unknown-none";
const INSTALL_TOOLCHAIN: &str =
    "rustup toolchain install nightly-2026-05-20 --profile minimal -c rust-src";
const INSTALL_LINKER: &str = "cargo install bpf-linker --version 0.10.4 --locked \
     --no-default-features --features rust-llvm-22";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    let ebpf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ebpf");
    for folder in ["abi", "packet", "engine", "programs"] {
        for part in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", ebpf.join(folder).join(part).display());
        }
    }
    println!("cargo::rerun-if-changed={}", ebpf.join("programs/Cargo.lock").display());
    println!("cargo::rerun-if-env-changed=PATH");
    match build(&ebpf.join("programs"), &out) {
        Ok(()) => {}
        Err(reason) => {
            for line in reason.lines() {
                println!("cargo::error={line}");
            }
        }
    }
}

/// A cargo that knows nothing of the one that runs this script.
fn cargo() -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", TOOLCHAIN, "cargo"]);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let inherited = ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTDOC", "RUSTFLAGS"];
        if inherited.iter().any(|prefix| text.starts_with(prefix)) && text != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn build(programs: &Path, out: &Path) -> Result<(), String> {
    check_tools()?;
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it for build scripts");
    let flags = format!("-Cdebuginfo=2 -Clink-arg=--btf --cfg=bpf_target_arch=\"{architecture}\"");
    let target_dir = out.join("target");
    // The second tells each look-up and writes nothing: for `skep net explain`.
    for (name, features) in [("programs.o", ""), ("traced.o", "trace")] {
        let status = cargo()
            .current_dir(programs)
            .env("RUSTFLAGS", &flags)
            .args(["build", "--quiet", "--release", "--locked", "-Z", "build-std=core"])
            .args(["--features", features, "--target", TARGET, "--target-dir"])
            .arg(&target_dir)
            .status()
            .map_err(|error| format!("cannot run rustup: {error}"))?;
        if !status.success() {
            let which = if features.is_empty() { "" } else { " with the feature trace" };
            return Err(format!(
                "ebpf/programs does not build{which}; the compiler's messages stand above"
            ));
        }
        let object = target_dir.join(TARGET).join("release/skep");
        let bytes = std::fs::read(&object)
            .map_err(|error| format!("cannot read {}: {error}", object.display()))?;
        let bytes = without_debug_sections(&bytes)
            .map_err(|error| format!("cannot strip {}: {error}", object.display()))?;
        std::fs::write(out.join(name), bytes)
            .map_err(|error| format!("cannot write {name}: {error}"))?;
    }
    Ok(())
}

/// The object without what only debuggers read, which is most of it: a node's agent holds and parses the rest.
/// The types of tables and programs (BTF) stay.
fn without_debug_sections(object: &[u8]) -> object::build::Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    let is_debug = |name: &[u8]| name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    for section in builder.sections.iter_mut().filter(|section| is_debug(&section.name)) {
        section.delete = true;
    }
    builder.delete_orphans();
    // LLVM keeps the sections' names with the symbols'; the writer wants them apart.
    let names = builder.sections.add();
    (names.name, names.sh_type) = (b".shstrtab".as_slice().into(), elf::SHT_STRTAB);
    (names.data, names.sh_addralign) = (SectionData::SectionString, 1);
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

fn check_tools() -> Result<(), String> {
    let answers = |command: &mut Command| {
        command.output().ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    if answers(cargo().arg("--version")).is_none() {
        return Err(format!(
            "the eBPF programs need the toolchain {TOOLCHAIN}; install it with\n{INSTALL_TOOLCHAIN}"
        ));
    }
    match answers(Command::new("bpf-linker").arg("--version")) {
        Some(version) if String::from_utf8_lossy(&version).trim() == LINKER => Ok(()),
        Some(version) => Err(format!(
            "the eBPF programs need {LINKER}, found {}; install it with\n{INSTALL_LINKER}",
            String::from_utf8_lossy(&version).trim()
        )),
        None => Err(format!(
            "the eBPF programs need {LINKER} in PATH; install it with\n{INSTALL_LINKER}"
        )),
    }
}
