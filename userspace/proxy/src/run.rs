//! The proxy's edge: watches the API, lets the pure middle work out what changed, writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use skep_bpf::Datapath;
use skep_network::attachments::{Attachment, Attachments};
use skep_network::sockets;
use tokio_util::sync::CancellationToken;

use crate::backend_ids::BackendRow;
use crate::config::Config;
use crate::desired::{self, Desired};
use crate::frontend::PortTables;
use crate::health::{self, Health, HealthChecks};
use crate::host_ports;
use crate::local_node::{LocalNode, ZONE_LABEL};
use crate::names::Names;
use crate::plan::Planner;
use crate::rows;
use crate::service::{PROXY_NAME_LABEL, ServiceName};

/// Neither headless Services nor those of other proxies concern a node.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// How often gone backends are looked at and the node's addresses read.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How often the plugin's file is looked at for pods with host ports.
const HOST_PORTS: Duration = Duration::from_millis(250);
/// Events that are taken in before the tables are written.
const BATCH: usize = 1024;

/// What the API tells.
#[derive(Debug)]
enum Event {
    Service(Box<watcher::Event<Service>>),
    Slice(Box<watcher::Event<EndpointSlice>>),
    Node(Box<watcher::Event<Node>>),
}

/// Runs the proxy until `shutdown`; the tables serve on after it.
pub async fn run(
    config: Config,
    datapath: Arc<Datapath>,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let health = Arc::new(Health::default());
    let healthz = async {
        match config.healthz {
            Some(address) => health::serve(address, health.clone(), shutdown.clone()).await,
            None => std::future::pending().await,
        }
    };
    let mut proxy = Proxy::new(config.clone(), datapath, health.clone())?;
    let mut events = events(&client, &config.node_name).ready_chunks(BATCH);
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    let mut host_ports = tokio::time::interval(HOST_PORTS);
    let work = async {
        loop {
            tokio::select! {
                chunk = events.next() => {
                    let chunk = chunk.context("the watch of Services has ended")?;
                    chunk.into_iter().for_each(|event| proxy.take(event));
                }
                _ = housekeeping.tick() => proxy.keep_house(),
                _ = host_ports.tick() => {
                    if !proxy.read_host_ports() {
                        continue;
                    }
                }
            }
            proxy.write().await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        outcome = healthz => outcome,
        outcome = work => outcome,
    }
}

fn events(client: &Client, node_name: &str) -> BoxStream<'static, Event> {
    let ours = format!("!{PROXY_NAME_LABEL},!{HEADLESS_LABEL}");
    let watch = watcher::Config::default().labels(&ours);
    let services = follow(Api::<Service>::all(client.clone()), watch.clone(), "services");
    let slices = follow(Api::<EndpointSlice>::all(client.clone()), watch, "endpoint slices");
    let own = watcher::Config::default().fields(&format!("metadata.name={node_name}"));
    let node = follow(Api::<Node>::all(client.clone()), own, "the node");
    futures::stream::select_all([
        services.map(|event| Event::Service(Box::new(event))).boxed(),
        slices.map(|event| Event::Slice(Box::new(event))).boxed(),
        node.map(|event| Event::Node(Box::new(event))).boxed(),
    ])
    .boxed()
}

/// Watches one kind for ever; errors are told and retried.
fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    what: &'static str,
) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, config).default_backoff().filter_map(move |event| {
        let event = event.inspect_err(|error| tracing::warn!(%error, "cannot watch {what}"));
        std::future::ready(event.ok())
    })
}

/// The state between the watch and the tables.
struct Proxy {
    config: Config,
    datapath: Arc<Datapath>,
    desired: Desired,
    planner: Planner,
    node: LocalNode,
    health: Arc<Health>,
    health_checks: HealthChecks,
    listed_services: Option<BTreeSet<ServiceName>>,
    listed_slices: Option<BTreeSet<ServiceName>>,
    services_known: bool,
    slices_known: bool,
    settled: bool,
    names_dirty: bool,
    must_reread: bool,
    /// When the plugin's file was changed, as of its last reading.
    attachments_read: Option<SystemTime>,
    host_ports: BTreeMap<ServiceName, Vec<PortTables>>,
    changed_host_ports: BTreeSet<ServiceName>,
}

impl Proxy {
    fn new(config: Config, datapath: Arc<Datapath>, health: Arc<Health>) -> anyhow::Result<Self> {
        let tables = datapath.tables();
        let snapshot = rows::snapshot(tables).context("cannot read the tables")?;
        let planner = Planner::new(rows::capacity(tables), snapshot);
        let node = LocalNode { name: config.node_name.as_str().into(), ..LocalNode::default() };
        let mut proxy = Self {
            desired: Desired::new(node.clone()),
            config,
            datapath,
            planner,
            node,
            health,
            health_checks: HealthChecks::default(),
            listed_services: None,
            listed_slices: None,
            services_known: false,
            slices_known: false,
            settled: false,
            names_dirty: false,
            must_reread: false,
            attachments_read: None,
            host_ports: BTreeMap::new(),
            changed_host_ports: BTreeSet::new(),
        };
        proxy.read_addresses();
        // Rows of host ports that are there already must not look superfluous.
        proxy.read_host_ports();
        Ok(proxy)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Service(event) => self.take_service(*event),
            Event::Slice(event) => self.take_slice(*event),
            Event::Node(event) => self.take_node(*event),
        }
    }

    /// Whether the object is there or not, the node is: only its zone comes from it.
    fn take_node(&mut self, event: watcher::Event<Node>) {
        if let watcher::Event::Apply(node) | watcher::Event::InitApply(node) = event {
            let zone = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL));
            self.node.zone = zone.map(|zone| zone.as_str().into());
            self.desired.set_node(self.node.clone());
        }
    }

    fn take_service(&mut self, event: watcher::Event<Service>) {
        match event {
            watcher::Event::Init => self.listed_services = Some(BTreeSet::new()),
            watcher::Event::InitApply(service) => {
                if let Some(listed) = &mut self.listed_services {
                    listed.insert(desired::service_name(&service));
                }
                self.desired.set_service(&service);
            }
            watcher::Event::InitDone => {
                self.desired.retain_services(&self.listed_services.take().unwrap_or_default());
                self.services_known = true;
            }
            watcher::Event::Apply(service) => self.desired.set_service(&service),
            watcher::Event::Delete(service) => {
                self.desired.remove_service(&desired::service_name(&service));
            }
        }
    }

    fn take_slice(&mut self, event: watcher::Event<EndpointSlice>) {
        match event {
            watcher::Event::Init => self.listed_slices = Some(BTreeSet::new()),
            watcher::Event::InitApply(slice) => {
                if let Some(listed) = &mut self.listed_slices {
                    listed.insert(desired::slice_name(&slice));
                }
                self.desired.set_slice(&slice);
            }
            watcher::Event::InitDone => {
                self.desired.retain_slices(&self.listed_slices.take().unwrap_or_default());
                self.slices_known = true;
            }
            watcher::Event::Apply(slice) => self.desired.set_slice(&slice),
            watcher::Event::Delete(slice) => {
                self.desired.remove_slice(&desired::slice_name(&slice));
            }
        }
    }

    /// Writes what changed. Before both lists are complete nothing is, since half of what is there
    /// would look superfluous.
    async fn write(&mut self) {
        if !self.services_known || !self.slices_known {
            return;
        }
        let now = Instant::now();
        let changed = self.desired.take_changed();
        let host_ports = std::mem::take(&mut self.changed_host_ports);
        let any = !changed.is_empty() || !host_ports.is_empty();
        for (name, ports) in changed {
            self.planner.set_service(&name, ports, now);
        }
        for name in host_ports {
            let ports = self.host_ports.get(&name).cloned().unwrap_or_default();
            self.planner.set_service(&name, ports, now);
        }
        if !self.settled {
            self.planner.settle(now);
        } else if !any {
            return;
        }
        let plan = self.planner.take_plan(now);
        let tables = self.datapath.tables();
        let written = rows::apply(tables, &plan).and_then(|()| {
            rows::set_host_backends(tables, self.planner.serves_on(&self.node.addresses))
        });
        self.must_reread = written.is_err();
        if let Err(error) = written {
            tracing::error!(%error, "cannot write the tables");
        }
        tracing::debug!(
            services = plan.services.len(),
            removed = plan.removed.len(),
            backends = plan.backends.len(),
            gone = plan.gone.len(),
            micros = now.elapsed().as_micros(),
            "wrote"
        );
        let services = plan.services.len();
        self.cut(plan.gone);
        if !std::mem::replace(&mut self.settled, true) {
            tracing::info!(services, "the tables hold what the API says");
            self.write_names();
        }
        self.names_dirty = true;
        self.health.set_synced(true);
        self.health_checks.set(self.desired.health_checks()).await;
    }

    /// Cuts what still talks to backends that are gone, aside: it walks whole tables and enters the
    /// pods' namespaces.
    fn cut(&self, gone: Vec<BackendRow>) {
        if gone.is_empty() {
            return;
        }
        let (datapath, attachments) = (self.datapath.clone(), self.config.run_dir.join("cni"));
        tokio::task::spawn_blocking(move || {
            let cut = || -> anyhow::Result<usize> {
                rows::cut_datagrams(datapath.tables(), &gone)?;
                let cookies = rows::take_sockets(datapath.tables(), &gone)?;
                if cookies.is_empty() {
                    return Ok(0);
                }
                let pods = Attachments::peek(&attachments)?;
                let namespaces: Vec<_> = pods.into_iter().filter_map(|pod| pod.namespace).collect();
                Ok(sockets::close(&cookies, &namespaces)?)
            };
            match cut() {
                Ok(closed) => tracing::debug!(backends = gone.len(), closed, "cut connections"),
                Err(error) => tracing::warn!(%error, "cannot cut connections to gone backends"),
            }
        });
    }

    fn keep_house(&mut self) {
        self.read_addresses();
        if self.must_reread {
            self.reread();
        }
        let forgotten = self.planner.reclaim(Instant::now());
        if let Err(error) = rows::forget(self.datapath.tables(), &forgotten) {
            tracing::error!(%error, "cannot remove flows of gone backends");
        }
        if std::mem::take(&mut self.names_dirty) {
            self.write_names();
        }
    }

    /// Reads the plugin's file if it was changed; whether any host port was.
    fn read_host_ports(&mut self) -> bool {
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
        let with_ports = attachments.iter().filter(|a| !a.port_mappings.is_empty());
        let wanted: BTreeMap<_, _> =
            with_ports.map(|a| (host_ports::name(a), host_ports::tables(a, &self.node))).collect();
        let names = wanted.keys().chain(self.host_ports.keys());
        let differs = |name: &&ServiceName| wanted.get(*name) != self.host_ports.get(*name);
        self.changed_host_ports.extend(names.filter(differs).cloned());
        self.host_ports = wanted;
    }

    /// After a failed write nobody knows what the tables hold: starts from what they say.
    fn reread(&mut self) {
        let tables = self.datapath.tables();
        match rows::snapshot(tables) {
            Ok(snapshot) => {
                self.planner = Planner::new(rows::capacity(tables), snapshot);
                self.desired.touch_all();
                self.changed_host_ports.extend(self.host_ports.keys().cloned());
                self.settled = false;
            }
            Err(error) => tracing::error!(%error, "cannot read the tables"),
        }
    }

    fn read_addresses(&mut self) {
        match rows::host_addresses(self.datapath.tables()) {
            Ok(addresses) => {
                let served = |address: &_| self.config.serves_node_ports_on(*address);
                let addresses: Vec<_> = addresses.into_iter().filter(served).collect();
                if addresses != self.node.addresses {
                    self.node.addresses = addresses;
                    self.desired.set_node(self.node.clone());
                    self.attachments_read = None;
                }
            }
            Err(error) => tracing::error!(%error, "cannot read the node's addresses"),
        }
    }

    fn write_names(&self) {
        let services = self.planner.ids().map(|(id, key)| (id, key.to_string())).collect();
        let pods = self.desired.pods().map(|(ip, pod)| (ip, pod.to_owned())).collect();
        if let Err(error) = (Names { services, pods }).write(&self.config.run_dir) {
            tracing::warn!(%error, "cannot write names for the tools");
        }
    }
}

/// Runs the proxy in a process of its own, with the datapath but without skep's pod network.
pub async fn run_alone(
    flags: crate::config::AloneFlags,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let node_name = match flags.hostname_override {
        Some(name) => name,
        None => nix::unistd::gethostname()
            .context("cannot tell the host's name: set --hostname-override")?
            .to_string_lossy()
            .to_lowercase(),
    };
    let config = Config::new(flags.proxy, node_name, flags.run_dir)?;
    let host_config = skep_network::HostConfig::alone(flags.host, flags.node_ip)?;
    let host = skep_network::Host::set_up(host_config).await?;
    run(config, host.datapath().clone(), client, shutdown).await
}
