//! Upstream's kube-proxy and skep's beside each other: the same Services, endpoints and packets through both,
//! what becomes of each compared case by case.
//!
//! `cargo xtask interop` runs it. A difference is an error, unless [`exception`] says why it is meant; an
//! exception that is no longer needed is one as well.
#![forbid(unsafe_code)]

mod api;
mod ask;
mod asker;
mod case;
mod compare;
mod exception;
mod objects;
mod observe;
mod outcome;
mod plan;
mod programs;
mod shape;
mod stack;
mod terms;
mod world;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::programs::Programs;
use crate::stack::Stack;

#[derive(Parser)]
#[command(about = "Compare skep's service proxy with upstream's")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compare
    Compare(Box<Options>),
    /// A server; started in places that answer
    #[command(hide = true)]
    Serve {
        /// Who answers
        name: String,
        /// Where
        #[arg(required = true)]
        addresses: Vec<SocketAddr>,
    },
    /// A sender; started in places that ask
    #[command(hide = true)]
    Ask,
    /// skep's part of a node
    #[command(hide = true)]
    Agent(Box<skep_netns_tests::agent::Flags>),
}

#[derive(clap::Args)]
struct Options {
    #[command(flatten)]
    programs: Programs,
    /// What the random Services are made of
    #[arg(long, env = "SKEP_SEED")]
    seed: Option<u64>,
    /// How many random Services there are
    #[arg(long, default_value_t = 40)]
    random: usize,
    /// Only Services whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Only these of skep's stacks
    #[arg(long, value_enum, value_delimiter = ',')]
    stack: Vec<Stack>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Compare(options) => compare(&options),
        Task::Serve { name, addresses } => {
            skep_netns_tests::responder::serve_at(&addresses, &name).map_err(Into::into)
        }
        Task::Ask => asker::run(),
        Task::Agent(flags) => skep_netns_tests::agent::run(*flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().expect("this is the first call");
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("random Services from seed {seed}: SKEP_SEED={seed} makes the same ones again");
    let mut shapes = shape::named();
    shapes.extend(shape::random(seed, options.random));
    if let Some(only) = &options.only {
        shapes.retain(|shape| shape.name.contains(only));
    }
    let exceptions = exception::ALL;
    let mut uses = vec![0; exceptions.len()];
    let stacks =
        if options.stack.is_empty() { &[Stack::Agent, Stack::Proxy] } else { &*options.stack };
    let whole = options.only.is_none() && options.stack.is_empty();
    let (mut cases, mut unexplained) = (0, 0);
    for &stack in stacks {
        println!("{stack:?}");
        let comparison = compare::compare(&options.programs, stack, &shapes, exceptions)?;
        cases += comparison.cases;
        unexplained += comparison.report(exceptions, &mut uses);
    }
    for (exception, uses) in exceptions.iter().zip(&uses) {
        println!("{uses:>5} differences are meant: {}", exception.reason);
    }
    println!("{cases} cases, {unexplained} differences without a reason, seed {seed}");
    if unexplained > 0 {
        bail!("{unexplained} of {cases} cases differ from upstream's kube-proxy (seed {seed})");
    }
    let unmet = exceptions.iter().zip(&uses).find(|(_, uses)| **uses == 0);
    if let Some((exception, _)) = unmet
        && whole
    {
        bail!("an exception is no longer needed: {}", exception.reason);
    }
    Ok(())
}
