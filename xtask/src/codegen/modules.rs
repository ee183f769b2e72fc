//! Upstream's Go modules: fetched through the module proxy into Go's own cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Folders of the modules that hold the API description.
pub(super) struct Modules {
    pub(super) kubernetes: PathBuf,
    pub(super) api: PathBuf,
    pub(super) apimachinery: PathBuf,
    pub(super) apiextensions: PathBuf,
    pub(super) aggregator: PathBuf,
}

/// Downloads the modules of one release; what Go's cache holds already is not fetched again.
pub(super) fn download(release: &str) -> Result<Modules> {
    let staging = release.replacen("v1.", "v0.", 1);
    let module = |name: &str, version: &str| fetch(&format!("k8s.io/{name}@{version}"));
    Ok(Modules {
        kubernetes: module("kubernetes", release)?,
        api: module("api", &staging)?,
        apimachinery: module("apimachinery", &staging)?,
        apiextensions: module("apiextensions-apiserver", &staging)?,
        aggregator: module("kube-aggregator", &staging)?,
    })
}

fn fetch(module: &str) -> Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", module])
        .current_dir(std::env::temp_dir())
        .output()
        .context("run go: codegen needs the Go toolchain (https://go.dev/dl)")?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("go mod download {module}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    match answer["Dir"].as_str() {
        Some(folder) => Ok(folder.into()),
        None => {
            bail!("go mod download {module}: {}", answer["Error"].as_str().unwrap_or("no folder"))
        }
    }
}
