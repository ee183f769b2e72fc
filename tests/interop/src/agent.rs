//! A node without containers: skep's pod network and proxy in one process, as `skep agent` runs them.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

/// The flags of an agent, the kubelet's apart.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[arg(long)]
    kubeconfig: PathBuf,
    #[arg(long)]
    hostname_override: String,
    #[arg(long)]
    node_ip: Option<IpAddr>,
    #[command(flatten)]
    network: skep_network::Flags,
    #[command(flatten)]
    proxy: skep_proxy::Flags,
}

/// Runs until it is killed.
///
/// # Errors
/// When a part of it ends.
pub(crate) fn run(flags: Flags) -> Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: Flags) -> Result<()> {
    let run_dir = flags.network.run_dir.clone();
    let identity = skep_network::Identity {
        node_name: flags.hostname_override.clone(),
        node_ip: flags.node_ip,
    };
    let proxy = skep_proxy::Config::new(&flags.proxy, flags.hostname_override, run_dir)?;
    let network = skep_network::Config::new(flags.network, identity)?;
    let file = Kubeconfig::read_from(&flags.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let host = skep_network::Host::set_up(network.host.clone()).await?;
    let datapath = host.datapath().clone();
    let shutdown = CancellationToken::new();
    tokio::select! {
        ended = skep_network::run(network, host, client.clone(), shutdown.clone()) => ended,
        ended = skep_proxy::run(proxy, datapath, client, shutdown) => ended,
    }
}
