//! The node part of the network: watches Nodes and keeps tables, routes and pods' endpoints true.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, pin_mut};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use skep_abi::endpoint_flags;
use skep_bpf::Timeouts;
use tokio_util::sync::CancellationToken;

use crate::attachments::Attachments;
use crate::cni::{Capabilities, Conf, PLUGIN_NAMES, RuntimeConfig};
use crate::config::Config;
use crate::host::{Host, OVERLAY_BYTES};
use crate::topology::{self, LocalNode, RemoteNode, Topology};
use crate::{conf, endpoints, pod, ways};

/// How often everything is compared with what is really there, for what no event tells.
const RESYNC: Duration = Duration::from_secs(15);
/// How often idle flows are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a burst of Node events may gather.
const GATHER: Duration = Duration::from_millis(50);

/// Runs the node part until `shutdown`. The datapath works on after it, and without it.
pub async fn run(
    config: Config,
    host: Host,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    conf::install_plugin(&config.cni_bin_dir, &program)?;
    let agent = Agent { config, host };
    agent.reconcile_pods().await?;

    let (store, writer) = reflector::store::<Node>();
    let nodes = watcher(Api::<Node>::all(client), watcher::Config::default())
        .default_backoff()
        .modify(|node| {
            node.metadata.managed_fields = None;
            if let Some(status) = &mut node.status {
                status.images = None;
            }
        });
    let events = reflector(writer, nodes);
    pin_mut!(events);
    let mut resync = tokio::time::interval(RESYNC);
    let mut sweep = tokio::time::interval(SWEEP);
    let mut listed = false;
    let mut dirty_since: Option<tokio::time::Instant> = None;
    loop {
        let gathered = async {
            match dirty_since {
                Some(since) => tokio::time::sleep_until(since + GATHER).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = events.next() => match event {
                Some(Ok(event)) => {
                    listed |= matches!(event, watcher::Event::InitDone);
                    if listed && !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                        dirty_since.get_or_insert_with(tokio::time::Instant::now);
                    }
                }
                Some(Err(error)) => tracing::warn!(%error, "cannot watch nodes"),
                None => anyhow::bail!("the watch of nodes has ended"),
            },
            () = gathered => {
                dirty_since = None;
                agent.apply_or_log(&store).await;
            }
            _ = resync.tick() => {
                if listed {
                    agent.apply_or_log(&store).await;
                }
                if let Err(error) = agent.reconcile_pods().await {
                    tracing::error!(%error, "cannot check the pods' endpoints");
                }
            }
            _ = sweep.tick() => agent.sweep().await,
        }
    }
}

struct Agent {
    config: Config,
    host: Host,
}

impl Agent {
    async fn apply_or_log(&self, nodes: &reflector::Store<Node>) {
        if let Err(error) = self.apply(nodes).await {
            tracing::error!(error = format!("{error:#}"), "cannot set up the ways to other nodes");
        }
    }

    async fn apply(&self, nodes: &reflector::Store<Node>) -> anyhow::Result<()> {
        let nodes = nodes.state();
        let is_own = |node: &Node| node.metadata.name.as_deref() == Some(&self.config.node_name);
        let own = nodes.iter().find(|node| is_own(node));
        let pod_ranges = own.map(|node| topology::pod_ranges(node)).unwrap_or_default();
        let others: Vec<RemoteNode> = nodes
            .iter()
            .filter(|node| !is_own(node))
            .filter_map(|node| RemoteNode::parse(node))
            .collect();
        self.host.address_overlay(&pod_ranges).await?;
        let local = LocalNode {
            addresses: self.host.claim_addresses().await?,
            uplink: self.host.uplink().device.index,
            overlay: self.host.overlay().map(|overlay| overlay.index),
            pod_ranges: pod_ranges.clone(),
            routing: self.config.routing,
        };
        self.host.configure(&pod_ranges)?;
        let topology = topology::plan(&local, &others);
        ways::apply(&topology, self.host.datapath().tables(), self.host.netlink()).await?;
        if !pod_ranges.is_empty() {
            self.offer_plugin(pod_ranges, &topology)?;
        }
        Ok(())
    }

    /// Tells the container runtime that pods can be attached, and how.
    fn offer_plugin(&self, pod_ranges: Vec<IpNet>, topology: &Topology) -> anyhow::Result<()> {
        let room = if topology.encapsulates() { OVERLAY_BYTES } else { 0 };
        let conf = Conf {
            cni_version: String::new(),
            name: String::new(),
            kind: PLUGIN_NAMES[0].into(),
            pod_ranges,
            mtu: self.host.uplink().device.mtu - room,
            state_dir: self.config.attachments_dir.clone(),
            pin_dir: self.config.host.pin_dir.clone(),
            capabilities: Capabilities { port_mappings: true },
            runtime_config: RuntimeConfig::default(),
            prev_result: None,
            valid_attachments: None,
            attachments: None,
        };
        conf::write(&self.config.cni_conf_dir, &conf)?;
        Ok(())
    }

    /// Compares the pods' rows and attachments with the devices that are really there.
    async fn reconcile_pods(&self) -> anyhow::Result<()> {
        let dir = self.config.attachments_dir.clone();
        // The plugin may hold the lock for a while.
        let attachments = tokio::task::spawn_blocking(move || Attachments::lock(&dir)).await??;
        let devices: BTreeMap<String, _> =
            self.host.netlink().devices().await?.into_iter().map(|d| (d.name.clone(), d)).collect();
        let tables = self.host.datapath().tables();
        let present: BTreeMap<IpAddr, _> = endpoints::entries(tables)?.into_iter().collect();
        let links = self.host.datapath().links();
        let attached: Vec<String> = links.list()?.into_iter().map(|link| link.name).collect();
        let mut wanted = Vec::new();
        for attachment in attachments.iter() {
            let Some(device) = devices.get(&attachment.host_device) else { continue };
            for &address in &attachment.addresses {
                wanted.push((address, device.index));
                // Tables of another version start empty.
                if let (Some(mac), false) = (attachment.mac, present.contains_key(&address)) {
                    endpoints::insert(tables, address, &pod::endpoint(device, mac))?;
                }
            }
            if !attached.contains(&device.name) {
                links.attach_pod(&device.name, device.index)?;
            }
        }
        for (address, endpoint) in present {
            let is_pod = endpoint.flags & endpoint_flags::POD != 0;
            if is_pod && !wanted.contains(&(address, endpoint.ifindex)) {
                tracing::info!(%address, "removing the row of a pod that is gone");
                endpoints::remove(tables, address)?;
            }
        }
        Ok(())
    }

    /// Removes flows that were idle for too long.
    async fn sweep(&self) {
        let datapath = self.host.datapath().clone();
        match tokio::task::spawn_blocking(move || datapath.sweep(&Timeouts::default())).await {
            Ok(Ok(removed)) => tracing::trace!(?removed, "removed idle flows"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot remove idle flows"),
            Err(error) => tracing::error!(%error, "the sweep of idle flows has failed"),
        }
    }
}
