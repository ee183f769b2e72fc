//! The volumes of a pod on disk, below `<root>/pods/<uid>/volumes`, where upstream's tools look too.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};

pub(crate) mod atomic;
mod host_path;
pub(crate) mod mounts;
pub(crate) mod payload;
pub(crate) mod setup;
pub(crate) mod subpath;

/// A volume that cannot be had (yet). The text is for the pod's events.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// An object that the volume shows is missing or cannot be read.
    #[error("{0}")]
    Source(String),
    /// The kind of volume is not offered by this node.
    #[error("volume {0:?} is of a kind that this node does not offer")]
    Unsupported(String),
    /// The node's file system said no.
    #[error("{path}: {error}")]
    Disk {
        /// Where.
        path: String,
        /// What it said.
        error: std::io::Error,
    },
}

impl VolumeError {
    pub(crate) fn at(path: &Path, error: impl Into<std::io::Error>) -> Self {
        Self::Disk { path: path.display().to_string(), error: error.into() }
    }
}

/// The folders of one pod.
#[derive(Clone, Debug)]
pub(crate) struct PodFolder(PathBuf);

impl PodFolder {
    pub(crate) fn new(root: &Path, uid: &str) -> Self {
        Self(root.join("pods").join(uid))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a volume's content lies on the node.
    pub(crate) fn volume(&self, volume: &Volume) -> PathBuf {
        if let Some(source) = &volume.host_path {
            return PathBuf::from(&source.path);
        }
        self.0.join("volumes").join(plugin(volume)).join(&volume.name)
    }

    /// Where a part of a volume is bound for one mount of one container.
    pub(crate) fn subpath(&self, volume: &str, container: &str, index: usize) -> PathBuf {
        self.0.join("volume-subpaths").join(volume).join(container).join(index.to_string())
    }

    /// A container's own folder (its last words lie there).
    pub(crate) fn container(&self, name: &str) -> PathBuf {
        self.0.join("containers").join(name)
    }

    /// The pod's hosts file.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("etc-hosts")
    }
}

fn plugin(volume: &Volume) -> &'static str {
    if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else if volume.projected.is_some() {
        "kubernetes.io~projected"
    } else {
        "kubernetes.io~empty-dir"
    }
}

/// The volumes of a pod.
pub(crate) fn of(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

/// Does the content come from the API server, and so change while the pod runs?
pub(crate) fn is_live(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}
