//! `skep net`: the kernel's own tables, with names.
//!
//! Reads the pinned tables of one node and prints them; names come from a file that the agent keeps, or
//! from the API. Nothing is ever written.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use skep_bpf::Tables;

mod backends;
mod drops;
mod endpoints;
mod explain;
mod filter;
mod flows;
mod maps;
mod monitor;
mod names;
mod nodes;
mod output;
mod services;
mod status;
mod top;
mod verify;

pub use output::Format;

/// Flags that every subcommand takes.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Print addresses and numbers instead of names
    #[arg(short, long)]
    pub numeric: bool,
    /// Folder of the node's tables, programs and links
    #[arg(long, default_value = "/sys/fs/bpf/skep")]
    pub bpf_dir: PathBuf,
    /// Folder of the names that the agent keeps
    #[arg(long, default_value = "/run/skep")]
    pub run_dir: PathBuf,
    /// Take names from the API, by way of this kubeconfig
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

/// What to look at.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// The node's datapath at a glance
    Status(Flags),
    /// Addresses that are translated, and what they lead to
    Services(Flags),
    /// Where Services' traffic goes
    Backends(Flags),
    /// Connections that are tracked
    Flows(flows::Query),
    /// Pods and addresses on this node
    Endpoints(Flags),
    /// Other nodes and the ways to them
    Nodes(Flags),
    /// Packets that did not get through, why, and what to do about it
    Drops(drops::Query),
    /// Packets and bytes per second of each Service and backend
    Top(top::Query),
    /// Connections as they are opened and packets as they are dropped, until you press Ctrl-C
    Monitor(monitor::Query),
    /// Why a packet goes where it goes: each look-up, each decision, and the end
    Explain(explain::Query),
    /// How full each table is
    Maps(Flags),
    /// Whether the tables are what a fresh start would write; fails where they are not
    Verify(verify::Query),
}

impl Command {
    fn flags(&self) -> &Flags {
        match self {
            Self::Status(flags)
            | Self::Services(flags)
            | Self::Backends(flags)
            | Self::Endpoints(flags)
            | Self::Nodes(flags)
            | Self::Maps(flags) => flags,
            Self::Flows(query) => &query.flags,
            Self::Drops(query) => &query.flags,
            Self::Top(query) => &query.flags,
            Self::Monitor(query) => &query.flags,
            Self::Explain(query) => &query.flags,
            Self::Verify(query) => &query.flags,
        }
    }
}

/// Prints what `command` asks for on `out`, until it is all there or nobody reads it any more.
pub async fn run(command: Command, out: &mut impl Write) -> anyhow::Result<()> {
    let flags = command.flags().clone();
    let tables = Tables::open(&flags.bpf_dir).with_context(|| {
        format!("no datapath in {}: is an agent running here?", flags.bpf_dir.display())
    })?;
    let names = names::load(&flags).await?;
    let text = match &command {
        Command::Status(_) => status::print(&tables, &flags)?,
        Command::Services(_) => output::print(&services::list(&tables, &names)?, flags.output)?,
        Command::Backends(_) => output::print(&backends::list(&tables, &names)?, flags.output)?,
        Command::Flows(query) => {
            let found = flows::list(&tables, &names, query)?;
            if found.cut > 0 {
                eprintln!("{} more: see them with --limit, or ask for less", found.cut);
            }
            output::print(&found.flows, flags.output)?
        }
        Command::Endpoints(_) => output::print(&endpoints::list(&tables, &names)?, flags.output)?,
        Command::Nodes(_) => output::print(&nodes::list(&tables)?, flags.output)?,
        Command::Drops(query) => output::print(&drops::list(&tables, query)?, flags.output)?,
        Command::Top(query) => return top::run(&tables, query, names, out).await,
        Command::Monitor(query) => return monitor::run(&tables, query, names, out).await,
        Command::Explain(query) => explain::print(&tables, query, &names)?,
        Command::Maps(_) => maps::print(&tables, flags.output)?,
        Command::Verify(query) => {
            let differences = verify::list(&tables, query).await?;
            if !differences.is_empty() {
                output::say(out, &output::print(&differences, flags.output)?)?;
                anyhow::bail!(
                    "{} rows differ from what a fresh start would write",
                    differences.len()
                );
            }
            output::print(&differences, flags.output)?
        }
    };
    output::say(out, &text).map(drop)
}
