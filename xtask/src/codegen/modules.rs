//! Upstream's Go modules: fetched through the module proxy into Go's own cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::upstream;

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
    let folder = std::env::temp_dir();
    let module =
        |name: &str, version: &str| upstream::download(&folder, &format!("k8s.io/{name}"), version);
    Ok(Modules {
        kubernetes: module("kubernetes", release)?,
        api: module("api", &staging)?,
        apimachinery: module("apimachinery", &staging)?,
        apiextensions: module("apiextensions-apiserver", &staging)?,
        aggregator: module("kube-aggregator", &staging)?,
    })
}
