//! `skep agent`: a node in one process: kubelet, service proxy and pod network over one datapath.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::{connect, kubeconfig};

/// How a node joins, and the flags of its parts.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// The API server to join, such as https://192.0.2.10:6443
    #[arg(long, requires = "token", conflicts_with = "kubeconfig")]
    server: Option<String>,
    /// What `skep token create` printed; needed until the node has joined
    #[arg(long, requires = "server", env = "SKEP_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Instead of joining: the API server, and the node's credentials
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    kubelet: skep_kubelet::Flags,
    #[command(flatten)]
    network: skep_network::Flags,
    #[command(flatten)]
    proxy: skep_proxy::Flags,
}

impl Flags {
    /// Makes credentials of this node from the control plane's own certificates, instead of joining.
    ///
    /// # Errors
    /// When a flag is wrong or the certificates cannot be used.
    pub(crate) fn use_kubeconfig(&mut self, pki: &Path, server: SocketAddr) -> Result<()> {
        let node = skep_kubelet::Config::try_from(self.kubelet.clone())?.node_name;
        let text = kubeconfig::of_node(pki, &node, &format!("https://{server}"))?;
        let file = pki.join("node.kubeconfig");
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        self.kubeconfig = Some(file);
        self.kubelet.client_ca_file.get_or_insert_with(|| pki.join("ca.crt"));
        Ok(())
    }
}

/// Runs a node until `shutdown`; its pods and its tables stay.
///
/// # Errors
/// When a flag is wrong, the node cannot join, or a part of it ends.
pub(crate) async fn run(flags: Flags, shutdown: CancellationToken) -> Result<()> {
    let kubelet = skep_kubelet::Config::try_from(flags.kubelet)?;
    let identity = skep_network::Identity {
        node_name: kubelet.node_name.clone(),
        node_ip: kubelet.node_ips.first().copied(),
    };
    let run_dir = flags.network.run_dir.clone();
    let proxy = skep_proxy::Config::new(&flags.proxy, kubelet.node_name.clone(), run_dir.clone())?;
    let network = skep_network::Config::new(flags.network, identity)?;
    let client = match (&flags.kubeconfig, &flags.server, &flags.token) {
        (Some(_), ..) => connect::Flags { kubeconfig: flags.kubeconfig }.client().await?,
        (None, Some(server), Some(token)) => {
            skep_kubelet::bootstrap::join(&kubelet, server, token, &shutdown).await?
        }
        _ => bail!("say which cluster: --server and --token to join one, or --kubeconfig"),
    };
    crate::process::write_pid(&run_dir, "agent")?;
    run_parts(kubelet, network, proxy, client, shutdown).await
}

async fn run_parts(
    kubelet: skep_kubelet::Config,
    network: skep_network::Config,
    proxy: skep_proxy::Config,
    client: Client,
    shutdown: CancellationToken,
) -> Result<()> {
    let host = skep_network::Host::set_up(network.host.clone()).await.context("the datapath")?;
    let datapath = host.datapath().clone();
    let network = tokio::spawn(skep_network::run(network, host, client.clone(), shutdown.clone()));
    let proxy = tokio::spawn(skep_proxy::run(proxy, datapath, client.clone(), shutdown.clone()));
    let kubelet = tokio::spawn(skep_kubelet::run(kubelet, client, shutdown));
    tokio::select! {
        ended = network => ended.context("the pod network died")?.context("the pod network"),
        ended = proxy => ended.context("the service proxy died")?.context("the service proxy"),
        ended = kubelet => ended.context("the kubelet died")?.context("the kubelet"),
    }
}
