//! `skep net monitor`: connections as they are opened and packets as they are dropped, with names.
//!
//! Programs report only while this runs: see [`skep_abi::Listeners`]. Memory is bounded by the ring;
//! what finds no room there is counted and told.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::Serialize;
use skep_abi::{Event, Family, FlowKey, Hook, Reason, V4, V6, event_kind, flow_flags, scope};
use skep_bpf::{FamilyTables, Tables, Wanted};
use skep_network::attachments::Attachments;
use skep_network::namespace::Namespace;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use crate::filter::{Filter, Subject};
use crate::names::Resolver;
use crate::output::{Format, say};
use crate::services::protocol;
use crate::{Flags, names};

/// How long programs go on reporting after the last renewal.
const LEASE: Duration = Duration::from_secs(3);
/// How often the lease is renewed, names are read again and losses are told.
const RENEWAL: Duration = Duration::from_secs(1);
/// How often the ring is looked into: it holds some 3,000 events.
const LOOK: Duration = Duration::from_millis(20);

/// Which events.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(flatten)]
    filter: Filter,
    /// Only events of these kinds; several are separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    verdict: Vec<Verdict>,
    /// End after so many events
    #[arg(long)]
    count: Option<u64>,
}

/// What became of a packet or a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    /// A packet opened a connection to a Service.
    Opened,
    /// A socket was connected to a backend of a Service.
    Connected,
    /// The client was told that it cannot have this.
    Refused,
    /// Dropped without a word.
    Dropped,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

/// An event with names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// Seconds since 1970.
    time: f64,
    verdict: Verdict,
    reason: &'static str,
    hook: &'static str,
    protocol: String,
    /// The sender: address and port, or the namespace of a socket that has none yet.
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_pod: Option<String>,
    destination: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// What the destination becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_pod: Option<String>,
    /// What the source becomes, where it is translated.
    #[serde(skip_serializing_if = "Option::is_none")]
    translated_source: Option<SocketAddr>,
    ifindex: u32,
    bytes: u32,
}

/// Prints events until `--count` is reached, nobody reads them, or the process is told to end.
pub(crate) async fn run(
    tables: &Tables,
    query: &Query,
    names: Resolver,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut events = tables.events()?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (mut renewal, mut look) = (interval(RENEWAL), interval(LOOK));
    let (mut monitor, wanted) = (Monitor::new(tables, query, names)?, query.wanted());
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = renewal.tick() => {
                events.renew(wanted, LEASE)?;
                monitor.look_around()?;
            }
            _ = look.tick() => {
                while let Some(event) = events.take() {
                    if !monitor.tell(&event, out)? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Query {
    fn wanted(&self) -> Wanted {
        let any = |verdicts: &[Verdict]| {
            self.verdict.is_empty() || self.verdict.iter().any(|verdict| verdicts.contains(verdict))
        };
        Wanted {
            opened: any(&[Verdict::Opened, Verdict::Connected]),
            dropped: any(&[Verdict::Refused, Verdict::Dropped]),
        }
    }
}

/// What makes lines of events.
struct Monitor<'a> {
    tables: &'a Tables,
    query: &'a Query,
    names: Resolver,
    /// Pods by the cookies of their network namespaces, their names or addresses.
    namespaces: HashMap<u64, (String, Option<IpAddr>)>,
    attachments_read: Option<SystemTime>,
    lost: u64,
    told: u64,
    /// The wall clock less the monotonic one, in seconds.
    boot: f64,
}

impl<'a> Monitor<'a> {
    fn new(tables: &'a Tables, query: &'a Query, names: Resolver) -> anyhow::Result<Self> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let boot = wall.as_secs_f64() - skep_bpf::monotonic_ns() as f64 / 1e9;
        let (namespaces, lost) = (HashMap::new(), lost(tables)?);
        let (attachments_read, told) = (None, 0);
        Ok(Self { tables, query, names, namespaces, attachments_read, lost, told, boot })
    }

    /// Learns of new names and of losses.
    fn look_around(&mut self) -> anyhow::Result<()> {
        self.names = names::refresh(std::mem::take(&mut self.names), &self.query.flags);
        let lost = lost(self.tables)?;
        if lost > self.lost {
            eprintln!("{} events were lost: the ring was full", lost - self.lost);
            self.lost = lost;
        }
        let folder = self.query.flags.run_dir.join("cni");
        let changed = Attachments::changed(&folder);
        if changed.is_some() && changed != self.attachments_read {
            self.attachments_read = changed;
            self.namespaces = namespaces(&folder, &self.names);
        }
        let own = self.tables.config()?.netns_cookie;
        self.namespaces.insert(own, ("this node".to_owned(), None));
        Ok(())
    }

    /// Prints an event if it is asked for; false when it is enough.
    fn tell(&mut self, event: &Event, out: &mut impl Write) -> anyhow::Result<bool> {
        let line = match event.version {
            4 => self.line::<V4>(&self.tables.v4, event)?,
            _ => self.line::<V6>(&self.tables.v6, event)?,
        };
        let Some(line) = line else { return Ok(true) };
        let text = match self.query.flags.output {
            Format::Json => serde_json::to_string(&line)? + "\n",
            Format::Yaml => format!("---\n{}", serde_saphyr::to_string(&line)?),
            Format::Table | Format::Wide => self.text(&line),
        };
        self.told += 1;
        Ok(say(out, &text)? && self.query.count.is_none_or(|count| self.told < count))
    }

    fn line<F: Family>(
        &self,
        tables: &FamilyTables<F>,
        event: &Event,
    ) -> anyhow::Result<Option<Line>> {
        let hook = Hook::from_number(event.hook).context("an event of no known hook")?;
        let reason = Reason::from_number(event.reason).context("an event of no known reason")?;
        let verdict = match event.kind {
            event_kind::FLOW => Verdict::Opened,
            event_kind::CALL => Verdict::Connected,
            _ if is_refusal(reason) => Verdict::Refused,
            _ => Verdict::Dropped,
        };
        let is_call = matches!(hook, Hook::Connect | Hook::Sendmsg);
        let socket = |words: [u32; 4], port_be| {
            let ip =
                if event.version == 4 { V4::addr_to_ip([words[0]]) } else { V6::addr_to_ip(words) };
            SocketAddr::new(ip, u16::from_be(port_be))
        };
        let (source, destination) =
            (socket(event.src, event.sport_be), socket(event.dst, event.dport_be));
        let flow = if verdict == Verdict::Opened { self.flow(tables, event)? } else { None };
        let backend = match verdict {
            Verdict::Opened => flow.as_ref().map(|flow| socket_of::<F>(flow.dst, flow.dport_be)),
            Verdict::Connected => Some(source),
            _ => None,
        };
        let service = match event.service {
            0 => self.service(tables, event)?,
            id => Some(id),
        };
        let (from, source_pod, own) = if is_call {
            let known = self.namespaces.get(&event.netns_cookie);
            let name = known.map_or_else(
                || format!("network namespace {}", event.netns_cookie),
                |(name, _)| name.clone(),
            );
            (name.clone(), known.map(|_| name), known.and_then(|(_, address)| *address))
        } else {
            let pod = self.names.pod(source.ip()).map(ToOwned::to_owned);
            (source.to_string(), pod, Some(source.ip()))
        };
        let sockets: Vec<SocketAddr> = own
            .map(|address| SocketAddr::new(address, if is_call { 0 } else { source.port() }))
            .into_iter()
            .chain([destination])
            .chain(backend)
            .collect();
        let subject = Subject {
            sockets: &sockets,
            protocol: event.proto,
            service: service.unwrap_or(0),
            backend,
        };
        let wanted = self.query.verdict.is_empty() || self.query.verdict.contains(&verdict);
        if !wanted || !self.query.filter.admits(&subject, &self.names) {
            return Ok(None);
        }
        let pod = |socket: SocketAddr| self.names.pod(socket.ip()).map(ToOwned::to_owned);
        let is_translated = |flow: &&skep_abi::Flow<F>| flow.flags & flow_flags::SRC != 0;
        Ok(Some(Line {
            time: self.boot + event.time_ns as f64 / 1e9,
            verdict,
            reason: reason.name(),
            hook: hook.name(),
            protocol: protocol(event.proto),
            source: from,
            source_pod,
            destination,
            destination_pod: pod(destination),
            service: service.map(|id| self.names.service(id)),
            backend,
            backend_pod: backend.and_then(pod),
            translated_source: flow
                .as_ref()
                .filter(is_translated)
                .map(|flow| socket_of::<F>(flow.src, flow.sport_be)),
            ifindex: event.ifindex,
            bytes: event.len,
        }))
    }

    /// The flow that a packet has opened, if it is still there.
    fn flow<F: Family>(
        &self,
        tables: &FamilyTables<F>,
        event: &Event,
    ) -> anyhow::Result<Option<skep_abi::Flow<F>>> {
        let key = FlowKey::<F> {
            src: words::<F>(event.src),
            dst: words::<F>(event.dst),
            sport_be: event.sport_be,
            dport_be: event.dport_be,
            proto: event.proto,
            ..FlowKey::default()
        };
        for table in [&tables.embryos, &tables.flows] {
            if let Some(flow) = table.get(&key)? {
                return Ok(Some(flow));
            }
        }
        Ok(None)
    }

    /// The Service that a packet or call was for, where the event does not say.
    fn service<F: Family>(
        &self,
        tables: &FamilyTables<F>,
        event: &Event,
    ) -> anyhow::Result<Option<u32>> {
        for scope in [scope::INTERNAL, scope::EXTERNAL] {
            let key = skep_abi::ServiceKey::<F> {
                addr: words::<F>(event.dst),
                port_be: event.dport_be,
                proto: event.proto,
                scope,
            };
            if let Some(service) = tables.services.get(&key)? {
                return Ok(Some(service.id).filter(|id| *id != 0));
            }
        }
        Ok(None)
    }

    fn text(&self, line: &Line) -> String {
        let seconds = line.time.rem_euclid(86_400.0);
        let (hours, minutes) = ((seconds / 3600.0) as u32, (seconds / 60.0) as u32 % 60);
        let source = line.source_pod.as_ref().map_or_else(
            || line.source.clone(),
            |pod| match line.source.rsplit_once(':') {
                Some((_, port)) if *pod != line.source => format!("{pod}:{port}"),
                _ => pod.clone(),
            },
        );
        let mut text = format!(
            "{hours:02}:{minutes:02}:{:09.6}Z {:<9} {:<15} {:<4} {source} -> {}",
            seconds % 60.0,
            line.verdict.name(),
            line.hook,
            line.protocol,
            self.names.socket(line.destination)
        );
        if let Some(backend) = line.backend {
            text += &format!(" => {}", self.names.socket(backend));
        }
        if let Some(source) = line.translated_source {
            text += &format!(" as {source}");
        }
        if let Some(service) = &line.service {
            text += &format!("  {service}");
        }
        if matches!(line.verdict, Verdict::Refused | Verdict::Dropped) {
            text += &format!("  {}", line.reason);
        }
        text + "\n"
    }
}

/// Whether the client is told.
fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoBackend | Reason::NoServicePort | Reason::BackendGone | Reason::PacketTooBig
    )
}

fn words<F: Family>(words: [u32; 4]) -> F::Addr {
    let mut addr = F::Addr::default();
    for (to, word) in addr.as_mut().iter_mut().zip(words) {
        *to = word;
    }
    addr
}

fn socket_of<F: Family>(addr: F::Addr, port_be: u16) -> SocketAddr {
    SocketAddr::new(F::addr_to_ip(addr), u16::from_be(port_be))
}

/// Events that found no room so far.
fn lost(tables: &Tables) -> anyhow::Result<u64> {
    let mut lost = 0;
    for &hook in Hook::ALL {
        lost += tables.counters.get(hook, Reason::EventLost)?.packets;
    }
    Ok(lost)
}

/// The pods of the node by the cookies of their network namespaces. A pod that ends meanwhile is left out.
fn namespaces(
    folder: &std::path::Path,
    names: &Resolver,
) -> HashMap<u64, (String, Option<IpAddr>)> {
    let pods = Attachments::peek(folder).unwrap_or_default().into_iter();
    let cookie =
        |path: &std::path::Path| Namespace::open(path).ok()?.run(skep_bpf::netns_cookie).ok()?.ok();
    pods.filter_map(|pod| {
        let cookie = cookie(pod.namespace.as_deref()?)?;
        let address = pod.addresses.first().copied();
        let known = address.and_then(|address| names.pod(address).map(ToOwned::to_owned));
        let name = known.or(pod.pod).or(address.map(|address| address.to_string()))?;
        Some((cookie, (name, address)))
    })
    .collect()
}
