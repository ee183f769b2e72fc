//! What the proxy is told, by flags and by upstream's configuration file, checked and put together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use skep_network::Xdp;

use crate::local_node::Sources;

mod file;
mod flags;

pub use flags::{AloneFlags, Flags, IgnoredFlags};

use file::File;

/// Why the proxy cannot be configured so.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("--config {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The configuration file says something that is not understood.
    #[error("--config {}: {problem}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What, with its line where it is known.
        problem: String,
    },
    /// A value is wrong.
    #[error("{name}: {value:?} is not {expected}")]
    Value {
        /// The flag or field.
        name: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Nobody said how the node is called.
    #[error("the node has no name: set --hostname-override")]
    NoName,
}

/// How packets from outside get back to their client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ForwardingMode {
    /// Through the node that they came to
    #[default]
    Snat,
    /// Straight from the backend's node
    Dsr,
}

/// How to tell this node's pods from other clients of cluster addresses, on somebody else's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LocalMode {
    /// They have an address in --cluster-cidr; without that flag everybody counts as one
    #[default]
    #[value(name = "ClusterCIDR")]
    ClusterCidr,
    /// They have an address in the node's own range
    #[value(name = "NodeCIDR")]
    NodeCidr,
    /// They have an address in the range of --pod-bridge-interface
    #[value(name = "BridgeInterface")]
    BridgeInterface,
    /// They have an address that a route leads to by a device of --pod-interface-name-prefix
    #[value(name = "InterfaceNamePrefix")]
    InterfaceNamePrefix,
}

/// On which of the node's addresses node ports are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NodePortAddresses {
    /// On all of them.
    #[default]
    All,
    /// On those by which the cluster knows the node.
    Primary,
    /// On those in these ranges.
    Ranges(Vec<IpNet>),
}

impl NodePortAddresses {
    fn parse(name: &'static str, texts: &[String]) -> Result<Self, ConfigError> {
        let wrong = |value: &String| ConfigError::Value {
            name,
            value: value.clone(),
            expected: "a range of addresses, or \"primary\" alone",
        };
        let texts: Vec<_> = texts.iter().filter(|text| !text.is_empty()).collect();
        match texts[..] {
            [] => Ok(Self::All),
            [one] if one == "primary" => Ok(Self::Primary),
            _ => {
                let ranges = texts.into_iter().map(|text| text.parse().map_err(|_| wrong(text)));
                ranges.collect::<Result<_, _>>().map(Self::Ranges)
            }
        }
    }

    /// Whether node ports are served on this address of the node; `primary` are those by which the
    /// cluster knows it.
    pub fn serves_on(&self, address: IpAddr, primary: &[IpAddr]) -> bool {
        match self {
            Self::All => true,
            Self::Primary => primary.contains(&address),
            Self::Ranges(ranges) => ranges.iter().any(|range| range.contains(&address)),
        }
    }
}

/// Settings of the proxy.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name in the API.
    pub node_name: String,
    /// Where node ports are served.
    pub node_port_addresses: NodePortAddresses,
    /// Where the health check listens.
    pub healthz: Option<SocketAddr>,
    /// Where the metrics are.
    pub metrics: Option<SocketAddr>,
    /// Where names for the tools are kept.
    pub run_dir: PathBuf,
    /// Whose address backends see, and how packets get back.
    pub sources: Sources,
}

impl Config {
    /// Checks the flags of a proxy on skep's own pod network; errors name the one that is wrong.
    pub fn new(flags: &Flags, node_name: String, run_dir: PathBuf) -> Result<Self, ConfigError> {
        if node_name.is_empty() {
            return Err(ConfigError::NoName);
        }
        let ports = NodePortAddresses::parse("--nodeport-addresses", &flags.nodeport_addresses)?;
        Ok(Self {
            node_name,
            node_port_addresses: ports,
            healthz: bind_address("--healthz-bind-address", &flags.healthz_bind_address, 10_256)?,
            metrics: bind_address("--metrics-bind-address", &flags.metrics_bind_address, 10_249)?,
            run_dir,
            sources: Sources {
                masquerade_all: flags.masquerade_all,
                dsr: flags.forwarding_mode == ForwardingMode::Dsr,
                ..Sources::default()
            },
        })
    }
}

/// Settings of a proxy in a process of its own.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The proxy's.
    pub proxy: Config,
    /// The API server and who we are.
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server, instead of the kubeconfig's.
    pub master: Option<String>,
    /// How to tell this node's pods.
    pub detect: LocalMode,
    /// Ranges of all pods, at most one per family.
    pub cluster_cidrs: Vec<IpNet>,
    /// The pods' bridge.
    pub bridge: String,
    /// How the names of the pods' devices begin.
    pub device_prefix: String,
    /// The node's address; found by itself when not given.
    pub node_ip: Option<IpAddr>,
    /// For the kernel's choice when memory runs out.
    pub oom_score_adj: Option<i32>,
    /// Whether to remove everything instead of running.
    pub cleanup: bool,
    /// Where tables, programs and links are pinned.
    pub bpf_dir: PathBuf,
    /// The cgroup2 folder whose sockets see Services.
    pub socket_cgroup: Option<PathBuf>,
    /// Where packets from outside are taken off the devices.
    pub xdp: Xdp,
    /// Flags and fields that were given and have no meaning here.
    pub ignored: Vec<String>,
}

impl Settings {
    /// Puts flags and file together; errors name the flag, or the file and line. `host_name` is what the
    /// machine calls itself.
    pub fn new(flags: AloneFlags, host_name: &str) -> Result<Self, ConfigError> {
        let mut flags = flags;
        let mut ignored: Vec<String> = flags.ignored.given().into_iter().map(Into::into).collect();
        if let Some(path) = &flags.config {
            let file = File::read(path)?;
            ignored.extend(file.ignored().into_iter().map(Into::into));
            overrule(&mut flags, file);
        }
        let node_name = flags.hostname_override.unwrap_or_else(|| host_name.to_lowercase());
        let mut proxy = Config::new(&flags.proxy, node_name.trim().into(), flags.run_dir)?;
        let detect = flags.detect_local_mode.unwrap_or_default();
        let cluster_cidrs = cidrs(&flags.cluster_cidr)?;
        proxy.sources.foreign = true;
        proxy.sources.detects_local = detect != LocalMode::ClusterCidr || !cluster_cidrs.is_empty();
        if let Some(score) = flags.oom_score_adj
            && !(-1000..=1000).contains(&score)
        {
            let expected = "a number from -1000 to 1000";
            return Err(ConfigError::Value {
                name: "--oom-score-adj",
                value: score.to_string(),
                expected,
            });
        }
        Ok(Self {
            proxy,
            kubeconfig: flags.kubeconfig,
            master: flags.master.filter(|master| !master.is_empty()),
            detect,
            cluster_cidrs,
            bridge: flags.pod_bridge_interface.unwrap_or_default(),
            device_prefix: flags.pod_interface_name_prefix.unwrap_or_default(),
            node_ip: flags.bind_address.as_deref().map_or(Ok(None), node_ip)?,
            oom_score_adj: flags.oom_score_adj,
            cleanup: flags.cleanup,
            bpf_dir: flags.bpf_dir,
            socket_cgroup: flags.socket_cgroup,
            xdp: flags.xdp,
            ignored,
        })
    }
}

/// Puts what the file says over the flags, as upstream does: only the node's name and the API server
/// may be said by flags beside a file.
fn overrule(flags: &mut AloneFlags, file: File) {
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let or_default =
        |address: Option<String>, default: &str| match said(address.unwrap_or_default()) {
            Some(address) => address,
            None => default.to_owned(),
        };
    flags.kubeconfig = said(file.client_connection.kubeconfig)
        .map(PathBuf::from)
        .or_else(|| flags.kubeconfig.take());
    flags.hostname_override = flags.hostname_override.take().or(said(file.hostname_override));
    flags.bind_address = said(file.bind_address);
    flags.proxy.healthz_bind_address = or_default(file.healthz_bind_address, "0.0.0.0:10256");
    flags.proxy.metrics_bind_address = or_default(file.metrics_bind_address, "127.0.0.1:10249");
    flags.proxy.masquerade_all = file.iptables.masquerade_all || file.nftables.masquerade_all;
    flags.proxy.nodeport_addresses = file.node_port_addresses.unwrap_or_default();
    flags.detect_local_mode = Some(file.detect_local_mode.into());
    flags.cluster_cidr = file.cluster_cidr.split(',').map(Into::into).collect();
    flags.pod_bridge_interface = said(file.detect_local.bridge_interface);
    flags.pod_interface_name_prefix = said(file.detect_local.interface_name_prefix);
    flags.oom_score_adj = file.oom_score_adj;
}

fn cidrs(texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let wrong = |value: &str| ConfigError::Value {
        name: "--cluster-cidr",
        value: value.into(),
        expected: "a range of addresses, at most one per family",
    };
    let mut ranges: Vec<IpNet> = Vec::new();
    for text in texts {
        let range: IpNet = text.parse().map_err(|_| wrong(text))?;
        if ranges.iter().any(|other| other.addr().is_ipv4() == range.addr().is_ipv4()) {
            return Err(wrong(text));
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// The unspecified address, upstream's default, leaves it open.
fn node_ip(text: &str) -> Result<Option<IpAddr>, ConfigError> {
    let wrong = |_| ConfigError::Value {
        name: "--bind-address",
        value: text.into(),
        expected: "an address",
    };
    let address: IpAddr = text.parse().map_err(wrong)?;
    Ok(Some(address).filter(|address| !address.is_unspecified()))
}

/// An address alone gets upstream's port.
fn bind_address(
    name: &'static str,
    text: &str,
    port: u16,
) -> Result<Option<SocketAddr>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
    match text.parse().ok().or_else(alone) {
        Some(address) => Ok(Some(address)),
        None => {
            let expected = "ADDRESS:PORT, or empty for none";
            Err(ConfigError::Value { name, value: text.into(), expected })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: AloneFlags,
    }

    fn settings(arguments: &[&str]) -> Result<Settings, String> {
        let all = ["proxy"].iter().chain(arguments);
        let command = Command::try_parse_from(all).map_err(|error| error.to_string())?;
        Settings::new(command.flags, "Machine").map_err(|error| error.to_string())
    }

    #[test]
    fn bind_addresses_are_read_as_upstream_reads_them() {
        for (text, expected) in [
            ("", Some(None)),
            ("0.0.0.0:10256", Some(Some("0.0.0.0:10256"))),
            ("127.0.0.1", Some(Some("127.0.0.1:10256"))),
            ("[::1]:7", Some(Some("[::1]:7"))),
            ("localhost:7", None),
        ] {
            let expected = expected.map(|a| a.map(|a| a.parse().expect("an address")));
            assert_eq!(bind_address("--x", text, 10_256).ok(), expected, "{text}");
        }
    }

    #[test]
    fn node_ports_can_be_kept_to_addresses() {
        let address = "192.0.2.10".parse().expect("address");
        for (texts, served) in [
            (&[][..], true),
            (&["192.0.2.0/24"], true),
            (&["10.0.0.0/8"], false),
            (&["10.0.0.0/8", "192.0.2.0/24"], true),
            (&["primary"], true),
        ] {
            let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            let parsed = NodePortAddresses::parse("--x", &texts).expect("ranges");
            assert_eq!(parsed.serves_on(address, &[address]), served, "{texts:?}");
            assert_eq!(
                parsed.serves_on("192.0.2.11".parse().expect("address"), &[address]),
                served && texts != ["primary"],
                "{texts:?}"
            );
        }
        let both = ["primary".to_owned(), "10.0.0.0/8".to_owned()];
        let error = NodePortAddresses::parse("--nodeport-addresses", &both).expect_err("mixed");
        assert!(error.to_string().starts_with("--nodeport-addresses: \"primary\""), "{error}");
    }

    #[test]
    fn flags_without_a_meaning_are_taken_and_unknown_ones_refused() {
        let taken = settings(&[
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established",
            "0s",
            "--proxy-mode=nftables",
            "--ipvs-strict-arp",
        ]);
        let taken = taken.expect("upstream's flags");
        assert_eq!(taken.ignored.len(), 4, "{:?}", taken.ignored);
        assert_eq!(taken.proxy.node_name, "machine");
        assert!(
            settings(&["--conntrack-maximum=0"]).is_err_and(|e| e.contains("--conntrack-maximum"))
        );
    }

    #[test]
    fn wrong_values_name_their_flag() {
        for (argument, words) in [
            ("--cluster-cidr=10.244.0.0", "--cluster-cidr: \"10.244.0.0\""),
            ("--cluster-cidr=10.0.0.0/8,11.0.0.0/8", "--cluster-cidr: \"11.0.0.0/8\""),
            ("--bind-address=eth0", "--bind-address: \"eth0\""),
            ("--oom-score-adj=1001", "--oom-score-adj: \"1001\""),
            ("--metrics-bind-address=x", "--metrics-bind-address: \"x\""),
            ("--detect-local-mode=Everybody", "--detect-local-mode"),
            ("--config=/nonexistent", "--config /nonexistent"),
        ] {
            let error = settings(&[argument]).expect_err(argument);
            assert!(error.contains(words), "{argument}: {error}");
        }
    }

    #[test]
    fn local_sources_are_told_apart_when_somebody_said_how() {
        for (arguments, detects) in [
            (&[][..], false),
            (&["--cluster-cidr=10.244.0.0/16,fd00::/48"], true),
            (&["--detect-local-mode=NodeCIDR"], true),
        ] {
            let settings = settings(arguments).expect("flags");
            assert!(settings.proxy.sources.foreign);
            assert_eq!(settings.proxy.sources.detects_local, detects, "{arguments:?}");
        }
    }

    #[test]
    fn a_file_overrules_flags_but_for_names() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.yaml");
        let text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
                    hostnameOverride: from-file\nclusterCIDR: 10.1.0.0/16\n\
                    nodePortAddresses: [primary]\nhealthzBindAddress: 127.0.0.1:1\n\
                    clientConnection: {kubeconfig: /from/file}\n";
        std::fs::write(&path, text).expect("written");
        let config = format!("--config={}", path.display());
        let all = [&*config, "--hostname-override=flag", "--cluster-cidr=10.2.0.0/16"];
        let settings = settings(&all).expect("both");
        assert_eq!(settings.proxy.node_name, "flag");
        assert_eq!(settings.cluster_cidrs, ["10.1.0.0/16".parse::<IpNet>().expect("range")]);
        assert_eq!(settings.proxy.node_port_addresses, NodePortAddresses::Primary);
        assert_eq!(settings.proxy.healthz, Some("127.0.0.1:1".parse().expect("address")));
        assert_eq!(settings.kubeconfig, Some("/from/file".into()));
    }
}
