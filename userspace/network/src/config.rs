//! The network's flags and the settings that they become.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::topology::Routing;

/// Where packets from outside are taken off the node's devices before TCX sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Xdp {
    /// In the driver, on real devices whose driver can
    #[default]
    Auto,
    /// In the driver
    Native,
    /// Behind the driver, on any device
    Generic,
    /// Nowhere
    Off,
}

/// Flags of the datapath on one node, of use with or without skep's pod network.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct HostFlags {
    /// Devices by which packets from outside arrive; found by themselves when not given
    #[arg(long, value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Ranges of all pods: traffic inside them keeps its source
    #[arg(long, value_delimiter = ',', default_value = "10.244.0.0/16")]
    pub cluster_cidr: Vec<IpNet>,
    /// Ranges of Service addresses: one without a Service is never routed out
    #[arg(long, value_delimiter = ',', default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: Vec<IpNet>,
    /// Folder of a BPF file system for this node's tables, programs and links
    #[arg(long, default_value = "/sys/fs/bpf/skep")]
    pub bpf_dir: PathBuf,
    /// Folder of the cgroup2 tree whose sockets see Services; the root of the tree when not given
    #[arg(long)]
    pub socket_cgroup: Option<PathBuf>,
    /// Where packets from outside are taken off the devices; what XDP does not take, TCX does
    #[arg(long, value_enum, default_value_t)]
    pub xdp: Xdp,
}

/// Flags of the pod network.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Flags {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub host: HostFlags,
    /// How packets get to other nodes: directly where they share a link and in VXLAN otherwise, or
    /// always the one or the other
    #[arg(long, value_enum, default_value_t = RoutingFlag::Auto)]
    pub routing: RoutingFlag,
    /// UDP port of VXLAN
    #[arg(long, default_value_t = 8472)]
    pub overlay_port: u16,
    /// Give pods' packets to the world the node's address
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub masquerade: bool,
    /// Where the container runtime looks for network configurations
    #[arg(long, default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,
    /// Where the container runtime looks for network plugins
    #[arg(long, default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,
    /// Where state that a reboot ends is kept
    #[arg(long, default_value = "/run/skep")]
    pub run_dir: PathBuf,
}

/// [`Routing`] as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "clap would print it as help; see Routing")]
pub enum RoutingFlag {
    Auto,
    Direct,
    Vxlan,
}

impl From<RoutingFlag> for Routing {
    fn from(flag: RoutingFlag) -> Self {
        match flag {
            RoutingFlag::Auto => Self::Auto,
            RoutingFlag::Direct => Self::Direct,
            RoutingFlag::Vxlan => Self::Vxlan,
        }
    }
}

/// What every part of an agent knows about its node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The node's name in the API.
    pub node_name: String,
    /// The address it is known by; found by itself when not given.
    pub node_ip: Option<IpAddr>,
}

/// Settings of the datapath on one node.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The address the node is known by; found by itself when not given.
    pub node_ip: Option<IpAddr>,
    /// Devices by which packets from outside arrive; found by themselves when empty.
    pub devices: Vec<String>,
    /// Ranges of all pods, at most one per family.
    pub cluster_ranges: Vec<IpNet>,
    /// Ranges of Service addresses, at most one per family.
    pub service_ranges: Vec<IpNet>,
    /// Where tables, programs and links are pinned.
    pub pin_dir: PathBuf,
    /// The cgroup2 folder whose sockets see Services.
    pub socket_cgroup: Option<PathBuf>,
    /// Where packets from outside are taken off the devices.
    pub xdp: Xdp,
    /// Whether pods' packets to the world get the node's address.
    pub masquerade: bool,
    /// UDP port of the VXLAN device; `None`: no such device.
    pub overlay_port: Option<u16>,
    /// The pod network is somebody else's: every device may lead to pods, the kernel's routes say which.
    pub foreign: bool,
}

impl HostConfig {
    /// Settings for a node of skep's own pod network, but for what is between nodes.
    fn new(flags: HostFlags, node_ip: Option<IpAddr>) -> anyhow::Result<Self> {
        one_per_family("--cluster-cidr", &flags.cluster_cidr)?;
        one_per_family("--service-cluster-ip-range", &flags.service_cluster_ip_range)?;
        Ok(Self {
            node_ip,
            devices: flags.devices,
            cluster_ranges: flags.cluster_cidr,
            service_ranges: flags.service_cluster_ip_range,
            pin_dir: flags.bpf_dir,
            socket_cgroup: flags.socket_cgroup,
            xdp: flags.xdp,
            masquerade: false,
            overlay_port: None,
            foreign: false,
        })
    }
}

/// Settings of the pod network.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name in the API.
    pub node_name: String,
    /// The datapath.
    pub host: HostConfig,
    /// How packets get to other nodes.
    pub routing: Routing,
    /// Where the container runtime looks for network configurations.
    pub cni_conf_dir: PathBuf,
    /// Where the container runtime looks for network plugins.
    pub cni_bin_dir: PathBuf,
    /// Where the plugin remembers attachments.
    pub attachments_dir: PathBuf,
}

impl Config {
    /// Checks the flags; errors name the one that is wrong.
    pub fn new(flags: Flags, identity: Identity) -> anyhow::Result<Self> {
        let routing = Routing::from(flags.routing);
        let host = HostConfig {
            masquerade: flags.masquerade,
            overlay_port: (routing != Routing::Direct).then_some(flags.overlay_port),
            ..HostConfig::new(flags.host, identity.node_ip)?
        };
        anyhow::ensure!(flags.overlay_port != 0, "--overlay-port: 0 is not a port");
        anyhow::ensure!(!identity.node_name.is_empty(), "the node has no name");
        Ok(Self {
            node_name: identity.node_name,
            host,
            routing,
            cni_conf_dir: flags.cni_conf_dir,
            cni_bin_dir: flags.cni_bin_dir,
            attachments_dir: flags.run_dir.join("cni"),
        })
    }
}

fn one_per_family(flag: &str, ranges: &[IpNet]) -> anyhow::Result<()> {
    let v4 = ranges.iter().filter(|range| range.addr().is_ipv4()).count();
    anyhow::ensure!(!ranges.is_empty(), "{flag}: at least one range is needed");
    anyhow::ensure!(v4 <= 1 && ranges.len() - v4 <= 1, "{flag}: one range per address family");
    Ok(())
}
