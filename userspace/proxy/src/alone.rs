//! The proxy in a process of its own, in a cluster whose pod network is somebody else's.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use nix::mount::{MsFlags, mount};
use skep_bpf::Timeouts;
use skep_network::netlink::Netlink;
use skep_network::{Host, HostConfig};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::detect::Detector;
use crate::notices;
use crate::objects::{Node, ServiceCidr};
use crate::ranges::ServiceRanges;
use crate::run::{self, Event};
use crate::state::Surroundings;
use crate::watch::{self, Selection};

/// Changes of devices and routes come in bursts: how long one is waited for.
const GATHER: Duration = Duration::from_millis(20);
/// How often flows that have ended or fallen silent are removed.
const SWEEP: Duration = Duration::from_secs(30);
/// And how often while they are few: to look for them is to walk a table that has room for millions.
const SLOW_SWEEP: Duration = Duration::from_secs(120);
/// Entries that are few.
const FEW: u64 = 1 << 16;

/// Runs the proxy until `shutdown`; the tables serve on after it.
///
/// # Errors
/// When the datapath cannot be set up, or an address cannot be listened on.
pub async fn run_alone(
    settings: Settings,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    if !settings.ignored.is_empty() {
        let ignored = settings.ignored.join(", ");
        tracing::info!("these settings have no meaning here, where no netfilter is: {ignored}");
    }
    if let Some(score) = settings.oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .with_context(|| format!("--oom-score-adj: the kernel refuses {score}"))?;
    }
    let host_config = HostConfig {
        node_ip: settings.node_ip,
        devices: Vec::new(),
        cluster_ranges: Vec::new(),
        service_ranges: Vec::new(),
        pin_dir: settings.bpf_dir.clone(),
        socket_cgroup: settings.socket_cgroup.clone(),
        xdp: settings.xdp,
        masquerade: false,
        overlay_port: None,
        foreign: true,
    };
    mount_bpffs(&host_config.pin_dir)?;
    let config = settings.proxy.clone();
    let (events, received) = mpsc::channel(run::BATCH);
    // The lists come while the kernel verifies the programs.
    run::follow_api(&config, &client, &events);
    // Loading them keeps a thread busy for long.
    let host = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(Host::set_up(host_config))
    });
    let host = host.await.context("setting up the datapath died")??;
    let datapath = host.datapath().clone();
    let surroundings = Surroundings { routes: host.netlink().all_routes().await? };
    let notices = notices::reporter(client.clone(), &config.node_name);
    let follower = Follower { host, detector: Detector::new(&settings), events };
    let follow = follower.run(settings.proxy.node_name, client, shutdown.clone());
    tokio::select! {
        outcome = run::serve(config, datapath, Some(surroundings), notices, received, shutdown) => outcome,
        outcome = follow => outcome,
    }
}

/// Detaches every program and removes every table of a node.
///
/// # Errors
/// When something is left.
pub fn clean_up(settings: &Settings) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(&settings.bpf_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.with_context(|| format!("cannot remove {}", settings.bpf_dir.display())),
    }
}

/// Container images and network namespaces may come without one.
fn mount_bpffs(pin_dir: &Path) -> anyhow::Result<()> {
    let root = Path::new("/sys/fs/bpf");
    let needs_one = pin_dir.starts_with(root)
        && nix::sys::statfs::statfs(root)
            .is_ok_and(|found| found.filesystem_type() != nix::sys::statfs::BPF_FS_MAGIC);
    if needs_one {
        mount(Some("bpf"), root, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount a BPF file system at {}", root.display()))?;
    }
    Ok(())
}

/// Keeps the datapath true to the node and to the cluster's ranges.
struct Follower {
    host: Host,
    detector: Detector,
    events: mpsc::Sender<Event>,
}

/// What happens to the node and to the cluster's ranges.
enum Change {
    Node(watch::Event<Node>),
    Cidr(watch::Event<ServiceCidr>),
}

impl Follower {
    async fn run(
        mut self,
        node_name: String,
        client: Client,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut changes = Netlink::changes()?;
        // What changed before somebody listened.
        self.look_around().await;
        let (objects, mut changed) = mpsc::channel(run::BATCH);
        let own =
            Selection { fields: format!("metadata.name={node_name}"), ..Selection::default() };
        tokio::spawn(watch::follow(client.clone(), own, objects.clone(), Change::Node));
        tokio::spawn(watch::follow(client, Selection::default(), objects, Change::Cidr));
        let mut ranges = ServiceRanges::default();
        let mut sweep = Instant::now() + SWEEP;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(()) = changes.recv() => {
                    tokio::time::sleep(GATHER).await;
                    // What came meanwhile is seen now.
                    let _ = changes.try_recv();
                    self.look_around().await;
                }
                Some(change) = changed.recv() => self.take(change, &mut ranges).await?,
                () = tokio::time::sleep_until(sweep) => {
                    sweep = Instant::now() + self.sweep().await;
                }
            }
        }
    }

    async fn take(&mut self, change: Change, ranges: &mut ServiceRanges) -> anyhow::Result<()> {
        match change {
            Change::Cidr(event) => {
                // The proxy has to know them as well.
                let _ = self.events.send(Event::Cidr(event.clone())).await;
                if ranges.take(event) {
                    self.host.set_service_ranges(ranges.first());
                    self.configure().await?;
                }
            }
            Change::Node(watch::Event::Listed(node) | watch::Event::Applied(node)) => {
                if self.detector.take_node(&node) {
                    self.configure().await?;
                }
            }
            Change::Node(_) => {}
        }
        Ok(())
    }

    async fn configure(&self) -> anyhow::Result<()> {
        let netlink = self.host.netlink();
        let (devices, addresses) = (netlink.devices().await?, netlink.addresses().await?);
        let routes = netlink.all_routes().await?;
        self.host.configure(&self.detector.pods(&devices, &addresses, &routes))
    }

    async fn look_around(&self) {
        let look = async {
            self.host.follow_devices().await?;
            self.host.claim_addresses().await?;
            self.configure().await?;
            let routes = self.host.netlink().all_routes().await?;
            anyhow::Ok(Surroundings { routes })
        };
        match look.await {
            Ok(surroundings) => {
                let _ = self.events.send(Event::Surroundings(surroundings)).await;
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "cannot follow the node's devices");
            }
        }
    }

    /// Removes idle flows; when to do so again.
    async fn sweep(&self) -> Duration {
        let datapath = self.host.datapath().clone();
        let sweep = tokio::task::spawn_blocking(move || datapath.sweep(&Timeouts::default()));
        match sweep.await {
            Ok(Ok(swept)) => {
                tracing::trace!(?swept, "removed idle flows");
                return if swept.kept + swept.removed < FEW { SLOW_SWEEP } else { SWEEP };
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot remove idle flows"),
            Err(error) => tracing::error!(%error, "the sweep of idle flows has failed"),
        }
        SWEEP
    }
}
