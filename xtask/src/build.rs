//! Builds the programs in release mode, and the images.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::{command, show};
use crate::{images, machine};

/// Where everything lies after a build.
pub(crate) struct Built {
    /// The program `skep`.
    pub(crate) skep: PathBuf,
    /// The program inside the images, which runs on the machine as well.
    pub(crate) demo: PathBuf,
    /// The load of the benchmarks.
    pub(crate) traffic: PathBuf,
    /// The archive of images.
    pub(crate) images: PathBuf,
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

/// Cargo's target folder.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Go's name for this machine's architecture, which image and node fields use.
pub(crate) fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Builds everything that `up` starts.
///
/// # Errors
/// With the compiler's words.
pub(crate) fn all() -> Result<Built> {
    machine::ensure_toolchain()?;
    let triple = machine::static_target();
    show(cargo().args(["build", "--release", "--package", "skep"]))?;
    let words =
        ["build", "--profile", "image", "--package", "skep-demo", "--package", "skep-traffic"];
    show(cargo().args(words).args(["--target", &triple]))?;
    let programs = target_dir().join(&triple).join("image");
    let (demo, traffic) = (programs.join("skep-demo"), programs.join("skep-traffic"));
    let images = images::write(&demo, &traffic)?;
    Ok(Built { skep: target_dir().join("release/skep"), demo, traffic, images })
}

/// Cargo, run in the repository.
pub(crate) fn cargo() -> std::process::Command {
    let mut cargo = command([std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())]);
    // What the outer cargo says of xtask's own package: build scripts would take it for a change.
    let of_package =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root());
    cargo
}
