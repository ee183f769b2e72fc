//! The program `skep`: its command tree and which parts run in one process. No part's work is done here.
#![forbid(unsafe_code)]

mod kubeconfig;
mod log;
mod token;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

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

fn main() -> ExitCode {
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
        Command::Kubeconfig(flags) => kubeconfig::print(&flags),
        Command::Token(command) => block_on(token::run(command)),
        Command::Completion { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "skep",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Version => {
            println!("skep {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
