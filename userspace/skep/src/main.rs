//! The program `skep`: its command tree and which parts run in one process. No part's work is done here.
#![forbid(unsafe_code)]

mod agent;
mod connect;
mod kubeconfig;
mod log;
mod process;
mod proxy;
mod server;
mod token;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "skep", version, about = "A complete Kubernetes cluster whose network is eBPF")]
struct Arguments {
    /// Log more: 2 for debug, 4 for traces
    #[arg(short, long, global = true, default_value_t = 0)]
    v: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The control plane; with --agent also a node
    Server(Box<server::Flags>),
    /// A node: kubelet, service proxy and pod network
    Agent(Box<agent::Flags>),
    /// The API server alone
    Apiserver(Box<skep_apiserver::Flags>),
    /// The controllers alone, for any API server
    ControllerManager(Box<Part<skep_controllers::Flags>>),
    /// The scheduler alone, for any API server
    Scheduler(Box<Part<skep_scheduler::Flags>>),
    /// The kubelet alone, for any API server
    Kubelet(Box<Part<skep_kubelet::Flags>>),
    /// The service proxy alone, for any API server
    ///
    /// In kube-proxy's place: its flags, its configuration file, its health checks, its metrics (kubeproxy_*),
    /// and beside them what became of packets (skep_datapath_*) and how full the tables are (skep_table_*).
    ///
    /// What a Service must not have is not served, and an Event on the Service says why: an address of pods,
    /// of the node, of another Service or of nobody; a port of the node that a process listened on first; an
    /// endpoint that is no address of a cluster; more ports than a node serves of one Service. The rest of the
    /// Service is served, and once a process lets go of a port, that too.
    Proxy(Box<skep_proxy::AloneFlags>),
    /// The CNI plugin: reads its configuration from standard input, as the specification has it
    Cni,
    /// Look into the kernel's tables
    #[command(subcommand)]
    Net(skep_inspect::Command),
    /// Print a kubeconfig of this cluster, from its certificates
    Kubeconfig(kubeconfig::Flags),
    /// Manage the tokens by which nodes join
    #[command(subcommand)]
    Token(token::Command),
    /// Print a completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// A part that runs alone: its own flags, and which API server.
#[derive(clap::Args)]
#[group(skip)]
struct Part<F: clap::Args> {
    #[command(flatten)]
    server: connect::Flags,
    #[command(flatten)]
    flags: F,
}

fn main() -> ExitCode {
    // The runtime calls a link to this program, without arguments.
    if std::env::args_os().next().is_some_and(|name| skep_network::cni::is_plugin_name(&name)) {
        return skep_network::cni::run_plugin();
    }
    let arguments = Arguments::parse();
    log::start(arguments.v);
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().expect("this is the first call");
    match command {
        Command::Server(flags) => serve(|shutdown| server::run(*flags, shutdown)),
        Command::Agent(flags) => serve(|shutdown| agent::run(*flags, shutdown)),
        Command::Apiserver(flags) => serve(async |shutdown| {
            let config = skep_apiserver::Config::try_from(*flags)?;
            skep_apiserver::run(config, shutdown).await
        }),
        Command::ControllerManager(part) => serve(async |shutdown| {
            let config = skep_controllers::Config::try_from(part.flags)?;
            skep_controllers::run(config, part.server.client().await?, shutdown).await
        }),
        Command::Scheduler(part) => serve(async |shutdown| {
            let config = skep_scheduler::Config::try_from(part.flags)?;
            skep_scheduler::run(config, part.server.client().await?, shutdown).await
        }),
        Command::Kubelet(part) => serve(async |shutdown| {
            let config = skep_kubelet::Config::try_from(part.flags)?;
            skep_kubelet::run(config, part.server.client().await?, shutdown).await
        }),
        Command::Proxy(flags) => proxy::run(*flags),
        Command::Cni => {
            std::process::exit(i32::from(skep_network::cni::run_plugin() != ExitCode::SUCCESS))
        }
        Command::Net(command) => {
            process::block_on(async { skep_inspect::run(command, &mut std::io::stdout()).await })
        }
        Command::Kubeconfig(flags) => kubeconfig::print(&flags),
        Command::Token(command) => process::block_on(token::run(command)),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "skep", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
        Command::Version => {
            println!("skep {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

/// Runs a long-running command until it ends or the process is told to.
fn serve<W: Future<Output = Result<()>>>(work: impl FnOnce(CancellationToken) -> W) -> Result<()> {
    process::block_on(async { work(process::shutdown()?).await })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_of_a_part_collides_with_anothers() {
        Arguments::command().debug_assert();
    }
}
