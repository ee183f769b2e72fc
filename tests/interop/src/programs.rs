//! The programs that are compared.

use std::path::PathBuf;

/// Where they are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Programs {
    /// skep
    #[arg(long)]
    pub(crate) skep: PathBuf,
    /// Upstream's kube-proxy
    #[arg(long)]
    pub(crate) kube_proxy: PathBuf,
}
