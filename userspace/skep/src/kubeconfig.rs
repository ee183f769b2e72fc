//! `skep kubeconfig`: a client's configuration from the control plane's own certificates.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use skep_auth::kubeconfig::{Cluster, Kubeconfig, User};
use skep_auth::pki::{ClusterPki, Profile, ServingNames, Subject};

const NODE_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Whose configuration, and for which address.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// The control plane's folder; its certificates are made there if they are not yet
    #[arg(long, default_value = "/var/lib/skep/server")]
    data_dir: PathBuf,
    /// The address that the configuration names
    #[arg(long, default_value = "https://127.0.0.1:6443")]
    server: String,
    /// admin, controller-manager, scheduler, or node:NAME
    #[arg(long, default_value = "admin")]
    user: String,
    /// The control plane's own address, for its certificate
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// The first address of the service range, for its certificate
    #[arg(long, default_value = "10.96.0.1")]
    service_address: IpAddr,
}

/// Prints the configuration.
///
/// # Errors
/// When the folder cannot be used or the user is none of those known.
pub(crate) fn print(flags: &Flags) -> Result<()> {
    let mut names = ServingNames::of_cluster("cluster.local", flags.service_address);
    if let Some(address) = flags.advertise_address {
        names = names.with(&address.to_string());
    }
    let pki = load(&flags.data_dir.join("pki"), &names)?;
    print!("{}", file(&pki, &flags.user, &flags.server)?);
    Ok(())
}

/// A node's configuration, from certificates that are there.
///
/// # Errors
/// When the folder cannot be used.
pub(crate) fn of_node(pki: &Path, node: &str, server: &str) -> Result<String> {
    file(&load(pki, &ServingNames::default())?, &format!("node:{node}"), server)
}

fn load(folder: &Path, names: &ServingNames) -> Result<ClusterPki> {
    ClusterPki::load_or_create(folder, names, SystemTime::now())
        .with_context(|| format!("the certificates in {}", folder.display()))
}

fn file(pki: &ClusterPki, user: &str, server: &str) -> Result<String> {
    let identity = match user {
        "admin" => pki.admin.clone(),
        "controller-manager" => pki.controller_manager.clone(),
        "scheduler" => pki.scheduler.clone(),
        _ => match user.strip_prefix("node:") {
            Some(node) if !node.is_empty() => {
                let profile = Profile::client(Subject::node(node), NODE_LIFETIME);
                pki.authority.issue(&profile, SystemTime::now())?
            }
            _ => {
                bail!("--user {user}: it is one of admin, controller-manager, scheduler, node:NAME")
            }
        },
    };
    let cluster = Cluster::embedded(server, pki.authority.certificate_pem());
    Ok(Kubeconfig::new("skep", cluster, user, User::embedded(&identity)).to_text())
}
