//! `skep net top`: packets and bytes per second of each Service and backend, from the counters of flows.
//!
//! A connection that a socket hook has translated has no flow: its packets are nobody's to count. Such
//! sockets are listed by their number.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use skep_abi::Family;
use skep_bpf::{FamilyTables, Tables};

use crate::filter::{Filter, Subject};
use crate::flows::{Ends, tables_of};
use crate::names::Resolver;
use crate::output::{Row, print, say};
use crate::{Flags, names};

/// Which rates, and how often.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(flatten)]
    filter: Filter,
    /// Seconds between two looks at the counters
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    interval: u32,
    /// Print once, after one interval, and end
    #[arg(long)]
    once: bool,
    /// Print at most so many; 0: all
    #[arg(long, default_value_t = 25)]
    limit: usize,
}

/// What a Service sends to a backend, and hears from it, in a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    service: String,
    backend: String,
    /// Flow entries that were opened.
    opened_per_second: f64,
    packets_per_second: f64,
    bytes_per_second: f64,
    /// Connections with flow entries.
    connections: u64,
    /// Sockets of this node that were translated when they connected.
    sockets: u64,
}

impl Row for Rate {
    const COLUMNS: &'static [&'static str] =
        &["SERVICE", "BACKEND", "PACKETS/S", "BYTES/S", "OPENED/S", "CONNECTIONS", "SOCKETS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            self.backend.clone(),
            format!("{:.0}", self.packets_per_second),
            format!("{:.0}", self.bytes_per_second),
            format!("{:.1}", self.opened_per_second),
            self.connections.to_string(),
            self.sockets.to_string(),
        ]
    }
}

/// Prints rates once, or until nobody reads them.
pub(crate) async fn run(
    tables: &Tables,
    query: &Query,
    names: Resolver,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (mut names, interval) = (names, Duration::from_secs(query.interval.into()));
    let mut before = Sample::take(tables, query, &names)?;
    loop {
        tokio::time::sleep(interval).await;
        names = names::refresh(names, &query.flags);
        let now = Sample::take(tables, query, &names)?;
        let mut rates = now.rates(&before, &names);
        if query.limit > 0 && rates.len() > query.limit {
            eprintln!("{} more: see them with --limit", rates.len() - query.limit);
            rates.truncate(query.limit);
        }
        let mut text = print(&rates, query.flags.output)?;
        if !query.once {
            text.push('\n');
        }
        if !say(out, &text)? || query.once {
            return Ok(());
        }
        before = now;
    }
}

/// A Service port and the backend of a connection to it.
type Pair = (u32, SocketAddr);

/// Counters of one flow entry.
#[derive(Debug, Clone, Copy)]
struct Count {
    pair: Pair,
    is_reply: bool,
    packets: u64,
    bytes: u64,
}

/// The counters at one time.
#[derive(Debug)]
struct Sample {
    at: Instant,
    /// By a hash of the entry's tuple, which takes a quarter of the tuple's room. Two of a million flows
    /// share one with a probability of 1 in 10 million; then one of them is not counted.
    flows: HashMap<u64, Count>,
    sockets: BTreeMap<Pair, u64>,
}

#[derive(Debug, Default)]
struct Sum {
    opened: u64,
    packets: u64,
    bytes: u64,
    connections: u64,
    sockets: u64,
}

impl Sample {
    fn take(tables: &Tables, query: &Query, names: &Resolver) -> anyhow::Result<Self> {
        let (flows, sockets) = (HashMap::new(), BTreeMap::new());
        let mut sample = Self { at: Instant::now(), flows, sockets };
        sample.add(&tables.v4, query, names)?;
        sample.add(&tables.v6, query, names)?;
        Ok(sample)
    }

    fn add<F: Family>(
        &mut self,
        tables: &FamilyTables<F>,
        query: &Query,
        names: &Resolver,
    ) -> anyhow::Result<()> {
        for table in tables_of(tables) {
            table.visit(|batch| {
                for (key, flow) in batch {
                    let ends = Ends::of(key, flow);
                    let Some(backend) = ends.backend() else { continue };
                    if query.filter.admits(&ends.subject(), names) {
                        let pair = (ends.service, backend);
                        let (packets, bytes) = (flow.packets, flow.bytes);
                        let count = Count { pair, is_reply: ends.is_reply, packets, bytes };
                        self.flows.insert(hash(&ends.tuple()), count);
                    }
                }
            })?;
        }
        tables.sockets.visit(|batch| {
            for (key, peer) in batch {
                let socket =
                    |addr, port_be| SocketAddr::new(F::addr_to_ip(addr), u16::from_be(port_be));
                let backend = socket(key.addr, key.port_be);
                let (sockets, service) = ([socket(peer.addr, peer.port_be), backend], peer.service);
                // Which protocol the socket speaks is not noted.
                let protocol = query.filter.protocol.unwrap_or_default();
                let chosen = Some(backend);
                let subject = Subject { sockets: &sockets, protocol, service, backend: chosen };
                if query.filter.admits(&subject, names) {
                    *self.sockets.entry((service, backend)).or_default() += 1;
                }
            }
        })?;
        Ok(())
    }

    /// What has happened since `before`, most packets first.
    fn rates(&self, before: &Self, names: &Resolver) -> Vec<Rate> {
        let mut sums = BTreeMap::<Pair, Sum>::new();
        for (tuple, count) in &self.flows {
            let sum = sums.entry(count.pair).or_default();
            sum.connections += u64::from(!count.is_reply);
            // An entry that was removed and made anew counts from nothing.
            let old = before.flows.get(tuple).filter(|old| old.packets <= count.packets);
            sum.opened += u64::from(old.is_none() && !count.is_reply);
            sum.packets += count.packets - old.map_or(0, |old| old.packets);
            sum.bytes += count.bytes.saturating_sub(old.map_or(0, |old| old.bytes));
        }
        for (pair, sockets) in &self.sockets {
            sums.entry(*pair).or_default().sockets = *sockets;
        }
        let seconds = (self.at - before.at).as_secs_f64();
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.packets, sum.connections)));
        let rate = |((service, backend), sum): (Pair, Sum)| Rate {
            service: names.service(service),
            backend: names.socket(backend),
            opened_per_second: sum.opened as f64 / seconds,
            packets_per_second: sum.packets as f64 / seconds,
            bytes_per_second: sum.bytes as f64 / seconds,
            connections: sum.connections,
            sockets: sum.sockets,
        };
        sums.into_iter().map(rate).collect()
    }
}

fn hash(tuple: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    tuple.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, counts: &[(u64, u32, bool, u64, u64)]) -> Sample {
        let backend = "10.0.1.7:8080".parse().expect("a literal");
        let count = |(tuple, service, is_reply, packets, bytes): &(u64, u32, bool, u64, u64)| {
            let (pair, is_reply) = ((*service, backend), *is_reply);
            (*tuple, Count { pair, is_reply, packets: *packets, bytes: *bytes })
        };
        Sample { at, flows: counts.iter().map(count).collect(), sockets: BTreeMap::new() }
    }

    #[test]
    fn rates_are_differences_of_what_stayed_and_all_of_what_came() {
        let start = Instant::now();
        let before = sample(start, &[(1, 5, false, 10, 1000), (2, 5, true, 10, 9000)]);
        let (stayed, answered, came) =
            ((1, 5, false, 30, 3000), (2, 5, true, 20, 19_000), (3, 6, false, 4, 400));
        let after = sample(start + Duration::from_secs(2), &[stayed, answered, came]);
        let names = Resolver::of(&[(5, "shop/web"), (6, "shop/api")], &[]);
        let rates = after.rates(&before, &names);
        let of = |rate: &Rate| (rate.packets_per_second, rate.bytes_per_second, rate.connections);
        assert_eq!(rates[0].service, "shop/web");
        assert_eq!(of(&rates[0]), (15.0, 6000.0, 1));
        assert_eq!(rates[0].opened_per_second, 0.0);
        assert_eq!((rates[1].service.as_str(), of(&rates[1])), ("shop/api", (2.0, 200.0, 1)));
        assert_eq!(rates[1].opened_per_second, 0.5);
    }

    #[test]
    fn an_entry_that_was_made_anew_counts_from_nothing() {
        let start = Instant::now();
        let before = sample(start, &[(1, 5, false, 100, 100)]);
        let after = sample(start + Duration::from_secs(1), &[(1, 5, false, 3, 30)]);
        let rates = after.rates(&before, &Resolver::default());
        assert_eq!((rates[0].packets_per_second, rates[0].opened_per_second), (3.0, 1.0));
    }
}
