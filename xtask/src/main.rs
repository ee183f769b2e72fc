//! `cargo xtask`: the one door to building, trying, testing and measuring skep. Everything that a machine
//! needs is checked, and installed, from here.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod cluster;
mod codegen;
mod command;
mod fuzz;
mod images;
mod interop;
mod machine;
mod progress;
mod proof;
mod suite;
mod upstream;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, try, test and measure skep")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what this machine lacks
    Setup,
    /// Build the programs and the images in release mode
    Build,
    /// Bring up a cluster on this machine and prove it
    Up(cluster::up::Options),
    /// Take the cluster down; nothing is left behind
    Down,
    /// Run the whole test suite
    Test(suite::Options),
    /// Make the tables of kinds from upstream's published API description
    Codegen {
        /// Only compare with what is checked in
        #[arg(long)]
        check: bool,
    },
    /// Print the figures of SPECIFICATION.md
    Bench(bench::Options),
    /// Look for bytes that a parser, a codec or the engine does not bear
    Fuzz(fuzz::Options),
    /// Prove mixed clusters: upstream's components in place of some of skep's
    Interop,
    /// Let other kernels judge the programs, in virtual machines
    Vm,
    /// Kill a node of the running cluster, as if its plug were pulled
    Kill {
        /// The node
        node: String,
    },
    /// Run a command inside a node of the running cluster (n1, n2, ...) or `outside`
    Exec {
        /// The node
        node: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// One node's first process; `up` starts it
    #[command(hide = true)]
    Node(cluster::node::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => machine::setup(),
        Task::Build => build::all().map(drop),
        Task::Up(options) => cluster::up::run(&options),
        Task::Down => cluster::down::run(),
        Task::Test(options) => suite::run(&options),
        Task::Codegen { check } => codegen::run(check),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Interop => interop::run(),
        Task::Vm => vm::run(),
        Task::Kill { node } => cluster::down::kill(&node),
        Task::Exec { node, command } => cluster::exec(&node, &command),
        Task::Node(options) => cluster::node::run(&options),
    }
}
