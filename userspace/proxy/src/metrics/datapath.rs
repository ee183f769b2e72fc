//! What the kernel counts, read when somebody asks, and how full its tables are.
//!
//! Labels are hooks, reasons, tables, protocols and states: a few hundred series at most, whatever a
//! cluster holds. Nothing is counted per Service: on each node that would be a series for each of ten
//! thousand Services, and the packets' path would have to count them; `skep net top` works their rates out
//! of the flows, for who asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use skep_abi::{Counter, Hook, Reason};
use skep_bpf::{Connections, Datapath, Usage};

/// Entries in use and entries in all of the tables that the proxy writes, which it knows without asking.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<BTreeMap<&'static str, (u64, u64)>>);

impl Written {
    pub(super) fn set(&self, table: &'static str, entries: u64, max_entries: u64) {
        self.lock().insert(table, (entries, max_entries));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (u64, u64)>> {
        // Every entry is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the kernel's tables at each scrape.
#[derive(Debug)]
pub(super) struct DatapathCollector {
    pub(super) datapath: Option<Arc<Datapath>>,
    pub(super) written: Arc<Written>,
}

impl Collector for DatapathCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut reading = self.datapath.as_deref().map(Reading::of).unwrap_or_default();
        let written = self.written.lock();
        let usage = |(&table, &(entries, max_entries))| Usage { table, entries, max_entries };
        reading.usage.extend(written.iter().map(usage));
        drop(written);
        reading.encode(encoder)
    }
}

/// What the kernel said at one time.
#[derive(Debug, Default)]
struct Reading {
    counters: Vec<(Hook, Reason, Counter)>,
    usage: Vec<Usage>,
    /// Of IPv4 and of IPv6.
    connections: [Connections; 2],
}

impl Reading {
    fn of(datapath: &Datapath) -> Self {
        let counters = datapath.tables().counters.all().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the counters for the metrics");
            Vec::new()
        });
        Self { counters, usage: datapath.usage(), connections: datapath.connections() }
    }

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let verdict = |reason: Reason| if reason.is_drop() { "dropped" } else { "forwarded" };
        let packets = self.counters.iter().filter(|(_, reason, _)| is_verdict(*reason));
        let packets = packets.map(|(hook, reason, counter)| {
            let labels =
                [("hook", hook.name()), ("reason", reason.name()), ("verdict", verdict(*reason))];
            (labels, counter)
        });
        counters(
            &mut encoder,
            "skep_datapath_packets",
            "Packets (connections at the socket hooks), by what became of them",
            packets.clone().map(|(labels, counter)| (labels, counter.packets)),
        )?;
        counters(
            &mut encoder,
            "skep_datapath_bytes",
            "Their bytes",
            packets.map(|(labels, counter)| (labels, counter.bytes)),
        )?;
        for (reason, name, help) in [
            (
                Reason::Opened,
                "skep_datapath_connections_opened",
                "Connections opened to Services by packets",
            ),
            (
                Reason::EventLost,
                "skep_datapath_events_lost",
                "Events that found no room in the ring",
            ),
        ] {
            let counted = self.counters.iter().filter(|(_, counted, _)| *counted == reason);
            let counted =
                counted.map(|(hook, _, counter)| ([("hook", hook.name())], counter.packets));
            counters(&mut encoder, name, help, counted)?;
        }
        self.encode_tables(&mut encoder)
    }

    fn encode_tables(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let families = ["IPv4", "IPv6"].into_iter().zip(&self.connections);
        let connections = families.flat_map(|(family, connections)| {
            connections.iter().map(move |(protocol, state, count)| {
                ([("ip_family", family), ("protocol", protocol), ("state", state)], count)
            })
        });
        gauges(
            encoder,
            "skep_connections",
            "Answered connections, when idle ones were last looked for",
            connections,
        )?;
        let table = |usage: &Usage| [("table", usage.table)];
        let entries = self.usage.iter().map(|usage| (table(usage), usage.entries));
        gauges(encoder, "skep_table_entries", "Entries in use", entries)?;
        let room = self.usage.iter().map(|usage| (table(usage), usage.max_entries));
        gauges(encoder, "skep_table_max_entries", "Entries that there is room for", room)
    }
}

/// Whether it says what became of a packet; the others are counted beside that.
fn is_verdict(reason: Reason) -> bool {
    !matches!(reason, Reason::Opened | Reason::EventLost)
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    family(encoder, name, help, values, ConstCounter::new)
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    family(encoder, name, help, values, ConstGauge::new)
}

fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, u64)>,
    metric: fn(u64) -> M,
) -> fmt::Result {
    let kind = metric(0).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        metric(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    /// Stands for the kernel.
    #[derive(Debug)]
    struct Said(Reading);

    impl Collector for Said {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            self.0.encode(encoder)
        }
    }

    fn text(reading: Reading) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Said(reading)));
        let mut body = String::new();
        text::encode(&mut body, &registry).expect("written");
        body
    }

    #[test]
    fn packets_count_once_by_hook_reason_and_verdict() {
        let counter = |packets, bytes| Counter { packets, bytes };
        let body = text(Reading {
            counters: vec![
                (Hook::Xdp, Reason::Forwarded, counter(7, 700)),
                (Hook::Xdp, Reason::Opened, counter(2, 120)),
                (Hook::Xdp, Reason::EventLost, counter(1, 60)),
                (Hook::PodIngress, Reason::NoBackend, counter(3, 180)),
                (Hook::Connect, Reason::NoBackend, counter(4, 0)),
            ],
            ..Reading::default()
        });
        for line in [
            "skep_datapath_packets_total{hook=\"xdp\",reason=\"forwarded\",verdict=\"forwarded\"} 7",
            "skep_datapath_bytes_total{hook=\"xdp\",reason=\"forwarded\",verdict=\"forwarded\"} 700",
            "skep_datapath_packets_total{hook=\"pod-ingress\",reason=\"no-backend\",verdict=\"dropped\"} 3",
            "skep_datapath_packets_total{hook=\"connect\",reason=\"no-backend\",verdict=\"dropped\"} 4",
            "skep_datapath_connections_opened_total{hook=\"xdp\"} 2",
            "skep_datapath_events_lost_total{hook=\"xdp\"} 1",
        ] {
            assert!(body.lines().any(|found| found == line), "no {line} in\n{body}");
        }
        let packets = body.lines().filter(|line| line.starts_with("skep_datapath_packets_total"));
        assert_eq!(packets.count(), 3, "what is counted beside a verdict is none\n{body}");
    }

    #[test]
    fn tables_say_how_full_they_are() {
        let usage = |table, entries| Usage { table, entries, max_entries: 65_536 };
        let written = Arc::new(Written::default());
        written.set("slots", 509, 1_048_576);
        let mut registry = Registry::default();
        let collector = DatapathCollector { datapath: None, written };
        registry.register_collector(Box::new(collector));
        let mut body = String::new();
        text::encode(&mut body, &registry).expect("written");
        body += &text(Reading { usage: vec![usage("flows4", 12)], ..Reading::default() });
        for line in [
            "skep_table_entries{table=\"slots\"} 509",
            "skep_table_max_entries{table=\"slots\"} 1048576",
            "skep_table_entries{table=\"flows4\"} 12",
            "skep_table_max_entries{table=\"flows4\"} 65536",
            "skep_connections{ip_family=\"IPv6\",protocol=\"tcp\",state=\"open\"} 0",
        ] {
            assert!(body.lines().any(|found| found == line), "no {line} in\n{body}");
        }
    }
}
