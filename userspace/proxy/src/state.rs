//! What the proxy knows, between the API's events and the kernel's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use futures::FutureExt;
use ipnet::IpNet;
use skep_bpf::Datapath;
use skep_network::attachments::{Attachment, Attachments};
use skep_network::{listeners, sockets};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::backend_ids::BackendRow;
use crate::config::Config;
use crate::desired::{self, Desired};
use crate::frontend::{Family, PortTables};
use crate::health::Health;
use crate::health_checks::HealthChecks;
use crate::held::held;
use crate::host_ports;
use crate::local_node::{LocalNode, ZONE_LABEL};
use crate::metrics::Metrics;
use crate::names::NamesLog;
use crate::notices::Notice;
use crate::objects::{EndpointSlice, Node, Object, Service, ServiceCidr};
use crate::plan::{Bond, Plan, Planner};
use crate::ranges::{self, ServiceRanges};
use crate::refusals::Refusals;
use crate::rows;
use crate::run::Event;
use crate::service::ServiceName;
use crate::triggers::Triggers;
use crate::watch;
use crate::ways::{Way, Ways};

/// Services that are planned and written at a time: what is on its way to the tables stays small.
const CHUNK: usize = 64;

/// How long the kernel is not asked again for memory for tables that it had none for.
const NO_MEMORY: Duration = Duration::from_secs(60);
/// How often flows to backends that are long gone are looked for. That walks whole tables, and ids are not
/// that scarce.
const FORGET: Duration = Duration::from_secs(60);
/// But so many gone backends are reason enough.
const FORGET_AT: usize = skep_abi::BACKENDS_PER_CHUNK as usize;
/// How old what is known of the node's processes may be when a Service changes.
const HELD_AGE: Duration = Duration::from_secs(1);

/// The node as somebody else's network has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Surroundings {
    /// Its routes and their devices, in the kernel's order.
    pub(crate) routes: Vec<(IpNet, u32)>,
}

/// The state between the watch and the tables.
pub(crate) struct State {
    config: Config,
    datapath: Arc<Datapath>,
    desired: Desired,
    planner: Planner,
    node: LocalNode,
    /// The addresses by which the cluster knows the node.
    primary: Vec<IpAddr>,
    /// Ranges that the cluster gave the node for its pods.
    pod_ranges: Vec<IpNet>,
    service_ranges: ServiceRanges,
    /// When it was last seen what the node's processes hold.
    held_read: Option<Instant>,
    surroundings: Option<Surroundings>,
    /// Prefixes of the other nodes of skep's own pod network.
    peers: Vec<(IpNet, u32)>,
    ways: Ways,
    health: Arc<Health>,
    health_checks: HealthChecks,
    metrics: Arc<Metrics>,
    refusals: Refusals,
    /// Those whose health check cannot be served.
    refused_checks: BTreeSet<ServiceName>,
    triggers: Triggers,
    listed_services: Option<BTreeSet<ServiceName>>,
    listed_slices: Option<BTreeSet<ServiceName>>,
    services_known: bool,
    slices_known: bool,
    settled: bool,
    names: NamesLog,
    must_reread: bool,
    /// Whether another backend than before may be the node itself.
    must_look_here: bool,
    /// When the plugin's file was changed, as of its last reading.
    attachments_read: Option<SystemTime>,
    host_ports: BTreeMap<ServiceName, Vec<PortTables>>,
    changed_host_ports: BTreeSet<ServiceName>,
    /// Backends that went since their connections were last looked for.
    to_cut: Vec<BackendRow>,
    /// What clients were bound to and is to be looked for once more.
    to_unbind: Vec<Bond>,
    /// Backends whose grace is over, and when their like were last looked for.
    to_forget: Vec<BackendRow>,
    forgot: Instant,
    /// The look for flows that name them, and whether all were removed.
    forgetting: Option<JoinHandle<(Vec<BackendRow>, skep_bpf::Result<()>)>>,
    /// When the kernel had no memory for a table to grow.
    no_memory: Option<Instant>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        datapath: Arc<Datapath>,
        surroundings: Option<Surroundings>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        notices: mpsc::Sender<Notice>,
    ) -> anyhow::Result<Self> {
        let tables = datapath.tables();
        let snapshot = rows::snapshot(tables).context("cannot read the tables")?;
        let capacity = rows::capacity(tables).context("cannot read the tables")?;
        let planner = Planner::new(capacity, snapshot);
        let node = LocalNode {
            name: config.node_name.as_str().into(),
            sources: config.sources,
            ..LocalNode::default()
        };
        let mut state = Self {
            desired: Desired::new(node.clone()),
            names: NamesLog::new(&config.run_dir),
            config,
            datapath,
            planner,
            node,
            primary: Vec::new(),
            pod_ranges: Vec::new(),
            service_ranges: ServiceRanges::default(),
            held_read: None,
            surroundings,
            peers: Vec::new(),
            ways: Ways::default(),
            health_checks: HealthChecks::new(health.clone()),
            health,
            refusals: Refusals::new(metrics.clone(), notices),
            metrics,
            refused_checks: BTreeSet::new(),
            triggers: Triggers::new(SystemTime::now()),
            listed_services: None,
            listed_slices: None,
            services_known: false,
            slices_known: false,
            settled: false,
            must_reread: false,
            must_look_here: true,
            attachments_read: None,
            host_ports: BTreeMap::new(),
            changed_host_ports: BTreeSet::new(),
            to_cut: Vec::new(),
            to_unbind: Vec::new(),
            to_forget: Vec::new(),
            forgot: Instant::now(),
            forgetting: None,
            no_memory: None,
        };
        state.read_peers();
        state.read_addresses();
        // Rows of host ports that are there already must not look superfluous.
        state.read_host_ports();
        Ok(state)
    }

    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Service(event) => self.take_service(event),
            Event::Slice(event) => self.take_slice(event),
            Event::Node(event) => self.take_node(event),
            Event::Cidr(event) => self.take_cidr(event),
            Event::Surroundings(surroundings) => {
                self.surroundings = Some(surroundings);
                self.read_addresses();
            }
        }
    }

    /// Whether the object is there or not, the node is.
    fn take_node(&mut self, event: watch::Event<Node>) {
        match event {
            watch::Event::Applied(node) | watch::Event::Listed(node) => {
                let zone = node.meta().labels.get(ZONE_LABEL);
                self.node.zone = zone.map(|zone| zone.as_str().into());
                let addresses = node.status.iter().flat_map(|status| &status.addresses);
                let internal = addresses.filter(|address| address.kind == "InternalIP");
                self.primary = internal.filter_map(|ip| ip.address.parse().ok()).collect();
                let ranges = node.spec.iter().flat_map(|spec| &spec.pod_cidrs);
                self.pod_ranges = ranges.filter_map(|range| range.parse().ok()).collect();
                self.set_node();
                self.read_addresses();
                self.health.set_node(Some(&node));
            }
            watch::Event::Deleted(_) => self.health.set_node(None),
            watch::Event::Restarted | watch::Event::Synced => {}
        }
    }

    fn take_cidr(&mut self, event: watch::Event<ServiceCidr>) {
        if !self.service_ranges.take(event) {
            return;
        }
        let ranges: Vec<_> = self.service_ranges.all().collect();
        if ranges != self.node.service_ranges {
            self.node.service_ranges = ranges;
            self.set_node();
        }
    }

    /// Notes that a change waits, and what led to it.
    fn queue(&mut self, services: u64, slice: Option<&EndpointSlice>) {
        let now = SystemTime::now();
        self.metrics.queued(services, slice.map_or(0, |_| 1), now);
        self.health.set_waiting(Instant::now());
        if let Some(slice) = slice {
            self.triggers.note(slice);
        }
    }

    fn take_service(&mut self, event: watch::Event<Service>) {
        if !matches!(event, watch::Event::Restarted | watch::Event::Synced) {
            self.queue(1, None);
        }
        match event {
            watch::Event::Restarted => self.listed_services = Some(BTreeSet::new()),
            watch::Event::Listed(service) => {
                if let Some(listed) = &mut self.listed_services {
                    listed.insert(desired::service_name(&service));
                }
                self.desired.set_service(&service);
            }
            watch::Event::Synced => {
                self.desired.retain_services(&self.listed_services.take().unwrap_or_default());
                self.services_known = true;
            }
            watch::Event::Applied(service) => self.desired.set_service(&service),
            watch::Event::Deleted(service) => {
                self.desired.remove_service(&desired::service_name(&service));
            }
        }
    }

    fn take_slice(&mut self, event: watch::Event<EndpointSlice>) {
        if let watch::Event::Listed(slice) | watch::Event::Applied(slice) = &event {
            self.queue(0, Some(slice));
        }
        match event {
            watch::Event::Restarted => self.listed_slices = Some(BTreeSet::new()),
            watch::Event::Listed(slice) => {
                if let Some(listed) = &mut self.listed_slices {
                    listed.insert(desired::slice_name(&slice));
                }
                self.desired.set_slice(&slice);
            }
            watch::Event::Synced => {
                self.desired.retain_slices(&self.listed_slices.take().unwrap_or_default());
                self.slices_known = true;
            }
            watch::Event::Applied(slice) => self.desired.set_slice(&slice),
            watch::Event::Deleted(slice) => {
                self.desired.remove_slice(&desired::slice_name(&slice));
            }
        }
    }

    /// Writes what changed. Before both lists are complete nothing is, since half of what is there
    /// would look superfluous.
    pub(crate) fn write(&mut self) {
        if !self.services_known || !self.slices_known || self.must_reread {
            return;
        }
        let start = Instant::now();
        if self.surroundings.is_none() && self.desired.has_changed() {
            // A pod's row is there before its endpoint is.
            self.read_addresses();
        }
        if self.desired.has_changed() && self.held_read.is_none_or(|read| read.elapsed() > HELD_AGE)
        {
            self.read_held();
        }
        let mut written = Written::default();
        self.write_changed(&mut written);
        if std::mem::take(&mut written.removed) {
            // What stood in the way of others may be gone.
            self.touch_contended();
            self.write_changed(&mut written);
        }
        let (services, mut wrote) = (written.services, written.any);
        if !std::mem::replace(&mut self.settled, true) {
            self.planner.settle(start);
            self.apply(start);
            tracing::info!(services, "the tables hold what the API says");
            wrote = true;
        }
        if wrote {
            tracing::debug!(services, micros = start.elapsed().as_micros(), "wrote");
            self.serve_health_checks();
        }
        if !self.must_reread {
            let now = SystemTime::now();
            self.health.set_updated(now);
            let triggers = self.triggers.take();
            if wrote {
                self.metrics.synced(start.elapsed(), now, &triggers);
            }
        }
    }

    fn write_changed(&mut self, written: &mut Written) {
        loop {
            let changed = self.desired.take_changed(CHUNK);
            let host_ports = std::mem::take(&mut self.changed_host_ports);
            if changed.is_empty() && host_ports.is_empty() {
                return;
            }
            let now = Instant::now();
            written.any = true;
            written.services += changed.len();
            let names: Vec<_> = changed.iter().map(|(name, _)| name.clone()).collect();
            for (name, ports) in changed {
                self.planner.set_service(&name, ports, now);
            }
            self.planner.expect(self.desired.waiting());
            for name in host_ports {
                let ports = self.host_ports.get(&name).cloned().unwrap_or_default();
                self.planner.set_service(&name, ports, now);
            }
            written.removed |= self.apply(now);
            self.name(&names);
            names.iter().for_each(|name| self.tell_refusals(name));
        }
    }

    /// Services that were refused something that another one has try again.
    fn touch_contended(&mut self) {
        self.refusals.contended().for_each(|name| self.desired.touch(name));
    }

    /// Writes what the planner has worked out; whether any address is free now.
    fn apply(&mut self, now: Instant) -> bool {
        let Plan { gone, removed, unbound, .. } = {
            let plan = self.planner.take_plan(now);
            let tables = self.datapath.tables();
            let addresses = &self.node.addresses;
            let is_here = |row: &BackendRow| addresses.contains(&row.address.ip());
            self.must_look_here |= plan.backends.iter().chain(&plan.gone).any(is_here);
            let written = rows::apply(tables, &plan, &self.ways).and_then(|()| {
                if !std::mem::take(&mut self.must_look_here) {
                    return Ok(());
                }
                rows::set_host_backends(tables, self.planner.serves_on(addresses))
            });
            if let Err(error) = written {
                tracing::error!(%error, "cannot write the tables");
                self.must_reread = true;
                if matches!(error, skep_bpf::Error::NoMemory { .. }) {
                    self.no_memory = Some(now);
                }
            }
            plan
        };
        self.to_cut.extend(&gone);
        self.cut_datagrams(gone);
        self.to_unbind.extend(&unbound);
        self.unbind(unbound);
        !removed.is_empty()
    }

    /// Lets go of clients that are bound to what their Service no longer leads to. Aside, since it walks
    /// whole tables.
    fn unbind(&self, unbound: Vec<Bond>) {
        if unbound.is_empty() {
            return;
        }
        let datapath = self.datapath.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = rows::unbind(datapath.tables(), &unbound) {
                tracing::warn!(%error, "cannot let go of clients with affinity");
            }
        });
    }

    /// A packet that was on its way through a program may have bound its client once more.
    fn unbind_again(&mut self) {
        let mut unbound = std::mem::take(&mut self.to_unbind);
        if !unbound.is_empty() {
            self.planner.retain_unbound(&mut unbound);
            self.unbind(unbound);
        }
    }

    /// Tells the owner of a Service what is not served of it, if that is news.
    fn tell_refusals(&mut self, name: &ServiceName) {
        let (uid, forbidden) = (self.desired.uid(name), self.desired.refusals(name));
        self.refusals.set(name, uid, forbidden, self.planner.refusals(name));
    }

    fn serve_health_checks(&mut self) {
        let refused: BTreeMap<_, _> =
            self.health_checks.set(self.desired.health_checks()).into_iter().collect();
        for (service, error) in &refused {
            if !self.refused_checks.contains(service) {
                let note = format!("cannot listen on its healthCheckNodePort: {error}");
                let uid = self.desired.uid(service);
                self.refusals.tell(service, uid, "HealthCheckPortTaken", note);
            }
        }
        self.refused_checks = refused.into_keys().collect();
    }

    fn name(&mut self, services: &[ServiceName]) {
        let planner = &self.planner;
        let ids = services.iter().flat_map(|name| planner.ids_of(name));
        let pods = services.iter().flat_map(|name| self.desired.pods_of(name));
        let appended = self.names.append(ids.map(|(id, key)| (id, key.to_string())), pods);
        if let Err(error) = appended {
            tracing::warn!(%error, "cannot write names for the tools");
        }
    }

    /// Cuts the flows of datagrams to backends that are gone at once: their senders learn nothing from
    /// a reset. Aside, since it walks whole tables.
    fn cut_datagrams(&self, gone: Vec<BackendRow>) {
        let gone: Vec<_> = gone.into_iter().filter(|row| row.datagrams).collect();
        if gone.is_empty() {
            return;
        }
        let (datapath, attachments) = (self.datapath.clone(), self.config.run_dir.join("cni"));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = rows::cut_datagrams(datapath.tables(), &gone) {
                tracing::warn!(%error, "cannot cut flows to gone backends");
            }
            close_sockets(&datapath, &attachments, &gone);
        });
    }

    /// Closes the sockets that are connected to backends that are gone. Aside, since it walks whole
    /// tables and enters the pods' namespaces.
    fn cut_connections(&mut self) {
        let gone = std::mem::take(&mut self.to_cut);
        if gone.is_empty() {
            return;
        }
        let (datapath, attachments) = (self.datapath.clone(), self.config.run_dir.join("cni"));
        tokio::task::spawn_blocking(move || close_sockets(&datapath, &attachments, &gone));
    }

    pub(crate) fn keep_house(&mut self) {
        let now = Instant::now();
        self.read_peers();
        self.read_addresses();
        self.read_held();
        self.free_forgotten();
        // Rows that are being forgotten are nobody's to read.
        if self.must_reread && self.forgetting.is_none() {
            self.reread(now);
        }
        self.ask_for_memory(now);
        // What found no room may find some now.
        self.touch_contended();
        self.cut_connections();
        self.unbind_again();
        self.measure();
        self.forget_backends(now);
        self.desired.forget_names();
        if self.settled && self.names.is_due() {
            self.write_names();
        }
    }

    /// Removes the flows that name backends whose grace is over, and then these. Aside, since it walks whole
    /// tables.
    fn forget_backends(&mut self, now: Instant) {
        self.to_forget.extend(self.planner.reclaim(now));
        let count = self.to_forget.len();
        let is_due = count >= FORGET_AT || (count > 0 && now - self.forgot >= FORGET);
        if self.forgetting.is_some() || self.must_reread || !is_due {
            return;
        }
        let (datapath, rows) = (self.datapath.clone(), std::mem::take(&mut self.to_forget));
        self.forgot = now;
        self.forgetting = Some(tokio::task::spawn_blocking(move || {
            let outcome = rows::forget(datapath.tables(), &rows);
            (rows, outcome)
        }));
    }

    /// Frees the ids of backends that are forgotten by now.
    fn free_forgotten(&mut self) {
        let Some(task) = self.forgetting.take_if(|task| task.is_finished()) else { return };
        match task.now_or_never() {
            Some(Ok((rows, Ok(())))) => self.planner.free(&rows),
            Some(Ok((rows, Err(error)))) => {
                tracing::error!(%error, "cannot remove flows of gone backends");
                self.to_forget.extend(rows);
            }
            _ => {
                tracing::error!("the look for flows of gone backends has died");
                self.must_reread = true;
            }
        }
    }

    /// Lets tables grow again that had no memory for it some time ago.
    fn ask_for_memory(&mut self, now: Instant) {
        if self.no_memory.take_if(|since| now - *since >= NO_MEMORY).is_some() {
            match rows::capacity(self.datapath.tables()) {
                Ok(capacity) => self.planner.set_limits(&capacity),
                Err(error) => tracing::error!(%error, "cannot read the tables"),
            }
        }
    }

    /// Says how full the tables are.
    fn measure(&self) {
        let (used, capacity) = self.planner.slots();
        self.metrics.set_table("slots", used.into(), capacity.into());
        for (family, backends, services, ranges) in [
            (Family::V4, "backends4", "services4", "ranges4"),
            (Family::V6, "backends6", "services6", "ranges6"),
        ] {
            for (table, (used, capacity)) in [
                (backends, self.planner.backend_ids(family)),
                (services, self.planner.service_rows(family)),
                (ranges, self.planner.range_rows(family)),
            ] {
                self.metrics.set_table(table, used.into(), capacity.into());
            }
        }
    }

    /// Reads the plugin's file if it was changed; whether any host port was.
    pub(crate) fn read_host_ports(&mut self) -> bool {
        let dir = self.config.run_dir.join("cni");
        let changed = Attachments::changed(&dir);
        if changed == self.attachments_read {
            return false;
        }
        match Attachments::peek(&dir) {
            Ok(attachments) => self.set_host_ports(&attachments),
            Err(error) => tracing::warn!(%error, "cannot read the pods' host ports"),
        }
        self.attachments_read = changed;
        !self.changed_host_ports.is_empty()
    }

    fn set_host_ports(&mut self, attachments: &[Attachment]) {
        let wanted: BTreeMap<_, _> = host_ports::of_node(attachments, &self.node).collect();
        let names = wanted.keys().chain(self.host_ports.keys());
        let differs = |name: &&ServiceName| wanted.get(*name) != self.host_ports.get(*name);
        self.changed_host_ports.extend(names.filter(differs).cloned());
        self.host_ports = wanted;
    }

    /// After a failed write nobody knows what the tables hold: starts from what they say.
    fn reread(&mut self, now: Instant) {
        let tables = self.datapath.tables();
        let read = rows::snapshot(tables).and_then(|held| Ok((held, rows::capacity(tables)?)));
        match read {
            Ok((snapshot, mut capacity)) => {
                if self.no_memory.is_some_and(|since| now - since < NO_MEMORY) {
                    capacity = capacity.without_growth();
                }
                self.planner = Planner::new(capacity, snapshot);
                // They are in the snapshot again.
                self.to_forget.clear();
                self.to_unbind.clear();
                self.desired.touch_all();
                self.changed_host_ports.extend(self.host_ports.keys().cloned());
                (self.settled, self.must_reread, self.must_look_here) = (false, false, true);
            }
            Err(error) => tracing::error!(%error, "cannot read the tables"),
        }
    }

    fn set_node(&mut self) {
        self.desired.set_node(self.node.clone());
        if let Err(error) = self.node.write(&self.config.run_dir) {
            tracing::warn!(%error, "cannot leave what is known of the node for the tools");
        }
    }

    fn read_peers(&mut self) {
        match rows::peers(self.datapath.tables()) {
            Ok(peers) => self.peers = peers,
            Err(error) => tracing::error!(%error, "cannot read where nodes are"),
        }
    }

    fn read_addresses(&mut self) {
        let tables = self.datapath.tables();
        let here = match rows::here(tables) {
            Ok(here) => here,
            Err(error) => {
                tracing::error!(%error, "cannot read where addresses are");
                return;
            }
        };
        let hosts = here.iter().filter(|(_, way)| *way == Way::Host);
        let hosts: Vec<_> = hosts.map(|(address, _)| *address).collect();
        let served =
            |address: &&IpAddr| self.config.node_port_addresses.serves_on(**address, &self.primary);
        let addresses: Vec<_> = hosts.iter().filter(served).copied().collect();
        if addresses != self.node.addresses {
            self.must_look_here = true;
            self.attachments_read = None;
        }
        let (own, pod_ranges) = (hosts.clone(), self.pod_ranges());
        let node = LocalNode { addresses, own, pod_ranges, ..self.node.clone() };
        if node != self.node {
            self.node = node;
            self.set_node();
        }
        self.set_ways(match &self.surroundings {
            Some(surroundings) => Ways::foreign(&hosts, surroundings.routes.iter().copied()),
            None => Ways::own(here, self.peers.iter().copied()),
        });
    }

    /// Where pods' addresses are from.
    fn pod_ranges(&self) -> Vec<IpNet> {
        let known = self.datapath.tables().config().map(|config| ranges::of_pods(&config));
        let mut ranges = known.unwrap_or_default();
        ranges.extend(&self.pod_ranges);
        ranges
    }

    /// Looks at which of the node's ports its processes hold.
    fn read_held(&mut self) {
        self.held_read = Some(Instant::now());
        let listeners = match listeners::list() {
            Ok(listeners) => listeners,
            Err(error) => {
                tracing::warn!(%error, "cannot tell which ports processes listen on");
                return;
            }
        };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let addresses: Vec<_> = self.node.own.iter().copied().chain([loopback]).collect();
        let held = held(&self.node.held, &listeners, &addresses, |held| {
            self.planner.is_served(held.address, held.port, held.protocol)
        });
        if held != self.node.held {
            self.node.held = held;
            self.set_node();
        }
    }

    /// Rows that are written follow their ways: a pod's device, a node's index may be another's later.
    fn set_ways(&mut self, ways: Ways) {
        if ways == self.ways {
            return;
        }
        self.ways = ways;
        let (tables, backends) = (self.datapath.tables(), self.planner.backends());
        if let Err(error) = rows::update_ways(tables, backends, &self.ways) {
            tracing::error!(%error, "cannot write the ways to backends");
        }
    }

    fn write_names(&mut self) {
        let services = self.planner.ids().map(|(id, key)| (id, key.to_string()));
        if let Err(error) = self.names.begin(services, self.desired.pods()) {
            tracing::warn!(%error, "cannot write names for the tools");
        }
    }
}

/// What a round of writing came to.
#[derive(Debug, Default)]
struct Written {
    services: usize,
    any: bool,
    /// Whether rows of front ends were removed.
    removed: bool,
}

fn close_sockets(datapath: &Datapath, attachments: &std::path::Path, gone: &[BackendRow]) {
    let close = || -> anyhow::Result<usize> {
        let cookies = rows::take_sockets(datapath.tables(), gone)?;
        if cookies.is_empty() {
            return Ok(0);
        }
        let pods = Attachments::peek(attachments)?;
        let namespaces: Vec<_> = pods.into_iter().filter_map(|pod| pod.namespace).collect();
        Ok(sockets::close(&cookies, &namespaces)?)
    };
    match close() {
        Ok(closed) => tracing::debug!(backends = gone.len(), closed, "cut connections"),
        Err(error) => tracing::warn!(%error, "cannot cut connections to gone backends"),
    }
}
