//! `skep net drops`: the table `counters`.

use serde::Serialize;
use skep_abi::{Counter, Hook, Reason};
use skep_bpf::Tables;

use crate::Flags;
use crate::output::Row;

/// Which counters.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Also what was forwarded, and what was none of the datapath's business
    #[arg(long)]
    all: bool,
}

/// What became of packets at one hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Count {
    reason: &'static str,
    hook: &'static str,
    packets: u64,
    bytes: u64,
    dropped: bool,
    advice: &'static str,
}

impl Row for Count {
    const COLUMNS: &'static [&'static str] = &["REASON", "HOOK", "PACKETS", "BYTES", "WHAT TO DO"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.reason.into(),
            self.hook.into(),
            self.packets.to_string(),
            self.bytes.to_string(),
            self.advice.into(),
        ]
    }
}

/// Counters that are not zero, as the query wants them: what was dropped first, the most frequent of it
/// before the rest.
pub(crate) fn list(tables: &Tables, query: &Query) -> anyhow::Result<Vec<Count>> {
    let shown = |count: &(Hook, Reason, Counter)| query.all || is_trouble(count.1);
    let chosen = tables.counters.all()?.into_iter().filter(shown);
    let mut counts: Vec<_> =
        chosen.map(|(hook, reason, counter)| count(hook, reason, counter)).collect();
    counts.sort_by_key(|count| (!count.dropped, std::cmp::Reverse(count.packets)));
    Ok(counts)
}

fn count(hook: Hook, reason: Reason, counter: Counter) -> Count {
    Count {
        reason: reason.name(),
        hook: hook.name(),
        packets: counter.packets,
        bytes: counter.bytes,
        dropped: reason.is_drop(),
        advice: reason.advice(),
    }
}

/// Whether a person should know of it.
fn is_trouble(reason: Reason) -> bool {
    !matches!(reason, Reason::Forwarded | Reason::Passed | Reason::Opened)
}
