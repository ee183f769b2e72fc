//! Clients of the API server, for parts that run alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Which API server.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// The API server and who we are; without it the service account of the pod we run in
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl Flags {
    /// A client.
    ///
    /// # Errors
    /// When the file cannot be used, or without one, when this is no pod.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// How to reach the API server.
    ///
    /// # Errors
    /// As [`Flags::client`].
    pub(crate) async fn config(&self) -> Result<Config> {
        match &self.kubeconfig {
            Some(path) => read(path).await,
            None => Config::incluster().context("no --kubeconfig, and this is no pod of a cluster"),
        }
    }
}

/// What the file that `--kubeconfig` names says.
///
/// # Errors
/// When it cannot be used, naming it.
pub(crate) async fn read(path: &Path) -> Result<Config> {
    let named = || format!("--kubeconfig {}", path.display());
    let file = Kubeconfig::read_from(path).with_context(named)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.with_context(named)
}
