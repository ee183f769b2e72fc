//! `skep net drops`: the table `counters`.

use serde::Serialize;
use skep_abi::Reason;
use skep_bpf::Tables;

use crate::output::Row;

/// What became of packets at one hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Count {
    reason: &'static str,
    hook: &'static str,
    packets: u64,
    bytes: u64,
    dropped: bool,
}

impl Row for Count {
    const COLUMNS: &'static [&'static str] = &["REASON", "HOOK", "PACKETS", "BYTES"];

    fn cells(&self) -> Vec<String> {
        vec![self.reason.into(), self.hook.into(), self.packets.to_string(), self.bytes.to_string()]
    }
}

/// All counters that are not zero: what was dropped first, the most frequent of it before the rest.
pub(crate) fn list(tables: &Tables) -> anyhow::Result<Vec<Count>> {
    let count = |(hook, reason, counter): (skep_abi::Hook, Reason, skep_abi::Counter)| Count {
        reason: reason.name(),
        hook: hook.name(),
        packets: counter.packets,
        bytes: counter.bytes,
        dropped: is_drop(reason),
    };
    let mut counts: Vec<_> = tables.counters.all()?.into_iter().map(count).collect();
    counts.sort_by_key(|count| (!count.dropped, std::cmp::Reverse(count.packets)));
    Ok(counts)
}

/// Whether packets with this fate did not get through.
pub(crate) fn is_drop(reason: Reason) -> bool {
    !matches!(reason, Reason::Forwarded | Reason::Passed | Reason::NotConfigured)
}
