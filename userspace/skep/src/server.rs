//! `skep server`: the control plane in one process, its parts talking to the API server in memory; with
//! `--agent` also a node.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser};
use ipnet::IpNet;
use skep_auth::authn::UserInfo;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent;

/// The control plane's flags.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(flatten)]
    apiserver: skep_apiserver::Flags,
    /// Ranges of all pods; each node gets a part
    #[arg(long, value_delimiter = ',', default_value = "10.244.0.0/16")]
    cluster_cidr: Vec<IpNet>,
    /// Where this process leaves its pid
    #[arg(long, default_value = "/run/skep")]
    run_dir: PathBuf,
    /// Also be a node; flags of `skep agent` follow after --
    #[arg(long)]
    agent: bool,
    /// Flags of `skep agent`
    #[arg(last = true, requires = "agent")]
    agent_flags: Vec<String>,
}

/// Parts take their defaults from their own flags.
#[derive(Parser)]
#[group(skip)]
struct Of<F: Args> {
    #[command(flatten)]
    flags: F,
}

/// Runs the control plane until `shutdown`.
///
/// # Errors
/// When a flag is wrong, or a part of it ends.
pub(crate) async fn run(flags: Flags, shutdown: CancellationToken) -> Result<()> {
    let node =
        if flags.agent { Some(parse::<agent::Flags>("agent", &flags.agent_flags)?) } else { None };
    let service_ranges = comma_separated(&flags.apiserver.service_cluster_ip_range);
    let apiserver = skep_apiserver::Config::try_from(flags.apiserver)?;
    let (address, pki) = (apiserver.advertised(), apiserver.pki_folder());
    crate::process::write_pid(&flags.run_dir, "server")?;
    let running = skep_apiserver::start(apiserver, shutdown.clone()).await?;

    let client = |user: &str| {
        let user = UserInfo { name: user.to_owned(), ..UserInfo::default() };
        skep_apiserver::local_client(&running.server, user)
    };
    let authority = |extension| pki.join("ca").with_extension(extension).display().to_string();
    let words = [
        format!("--cluster-cidr={}", comma_separated(&flags.cluster_cidr)),
        format!("--service-cluster-ip-range={service_ranges}"),
        format!("--cluster-signing-cert-file={}", authority("crt")),
        format!("--cluster-signing-key-file={}", authority("key")),
        format!("--root-ca-file={}", authority("crt")),
        "--allocate-node-cidrs".to_owned(),
        "--leader-elect=false".to_owned(),
    ];
    let controllers = parse::<skep_controllers::Flags>("controllers", &words)?;
    let controllers = skep_controllers::Config::try_from(controllers)?;
    let scheduler =
        parse::<skep_scheduler::Flags>("scheduler", &["--leader-elect=false".to_owned()])?;
    let scheduler = skep_scheduler::Config::try_from(scheduler)?;
    let mut parts: Vec<(&str, JoinHandle<Result<()>>)> = vec![
        ("the API server", running.ended),
        (
            "the controllers",
            tokio::spawn(skep_controllers::run(
                controllers,
                client("system:kube-controller-manager"),
                shutdown.clone(),
            )),
        ),
        (
            "the scheduler",
            tokio::spawn(skep_scheduler::run(
                scheduler,
                client("system:kube-scheduler"),
                shutdown.clone(),
            )),
        ),
    ];
    if let Some(mut node) = node {
        // The node is a client like any other: it comes in through the door, with a certificate.
        node.use_kubeconfig(&pki, address)?;
        parts.push(("the agent", tokio::spawn(agent::run(node, shutdown.clone()))));
    }
    first_end(parts).await
}

/// The first part that ends, ends all: a supervisor starts a whole control plane, never half of one.
async fn first_end(parts: Vec<(&'static str, JoinHandle<Result<()>>)>) -> Result<()> {
    let named = parts.into_iter().map(|(name, part)| {
        Box::pin(async move { part.await.with_context(|| format!("{name} died"))?.context(name) })
    });
    futures::future::select_all(named).await.0
}

fn comma_separated(ranges: &[IpNet]) -> String {
    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    ranges.join(",")
}

fn parse<F: Args>(name: &str, words: &[String]) -> Result<F> {
    let all = std::iter::once(name).chain(words.iter().map(String::as_str));
    Ok(Of::<F>::try_parse_from(all)?.flags)
}
