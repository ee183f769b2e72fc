//! The kubelet's flags, with upstream's names, and the settings that they become.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use skep_cri::Endpoint;

/// Command line flags of a kubelet.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// The name of this node; the host's name if empty.
    #[arg(long)]
    pub hostname_override: Option<String>,
    /// Addresses of this node, comma separated; found by the default route if empty.
    #[arg(long, value_delimiter = ',')]
    pub node_ip: Vec<IpAddr>,
    /// The container runtime's socket.
    #[arg(long, default_value = "unix:///run/containerd/containerd.sock")]
    pub container_runtime_endpoint: String,
    /// Folder for pods' volumes.
    #[arg(long, default_value = "/var/lib/kubelet")]
    pub root_dir: PathBuf,
    /// Folder for containers' logs.
    #[arg(long, default_value = "/var/log/pods")]
    pub pod_logs_dir: PathBuf,
    /// Control group below which pods get theirs, relative to the control group file system.
    #[arg(long, default_value = "/")]
    pub cgroup_root: String,
    /// Who makes control groups: cgroupfs or systemd.
    #[arg(long, default_value = "cgroupfs")]
    pub cgroup_driver: String,
    /// Name servers that pods ask, comma separated.
    #[arg(long, value_delimiter = ',')]
    pub cluster_dns: Vec<IpAddr>,
    /// Domain in which pods look names up.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// The node's own resolver configuration.
    #[arg(long, default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// Make this node's object.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub register_node: bool,
    /// Labels for the node's object: name=value, comma separated.
    #[arg(long, value_delimiter = ',')]
    pub node_labels: Vec<String>,
    /// Taints for the node's object: key=value:effect, comma separated.
    #[arg(long, value_delimiter = ',')]
    pub register_with_taints: Vec<String>,
    /// How many pods this node takes.
    #[arg(long, default_value_t = 110)]
    pub max_pods: u32,
    /// Where logs, exec and the rest are served.
    #[arg(long, default_value = "0.0.0.0")]
    pub address: IpAddr,
    /// Port of the same.
    #[arg(long, default_value_t = 10250)]
    pub port: u16,
    /// Authorities (PEM) whose client certificates are believed; those of the kubeconfig if empty.
    #[arg(long)]
    pub client_ca_file: Option<PathBuf>,
    /// Folder for certificates that this kubelet asks for; `pki` in the root folder if empty.
    #[arg(long)]
    pub cert_dir: Option<PathBuf>,
    /// The cloud's name for this node.
    #[arg(long)]
    pub provider_id: Option<String>,
    /// How often the node's status is written when nothing changes, in seconds.
    #[arg(long, default_value_t = 300)]
    pub node_status_report_frequency_seconds: u64,
    /// Largest size of a container's log file before it is rotated, in MiB.
    #[arg(long, default_value_t = 10)]
    pub container_log_max_mib: u64,
    /// How many rotated log files a container keeps.
    #[arg(long, default_value_t = 5)]
    pub container_log_max_files: usize,
}

/// Who makes control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// The kubelet and the runtime write the file system.
    Cgroupfs,
    /// systemd makes slices.
    Systemd,
}

/// A taint that a new node is born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BirthTaint {
    /// The taint's key.
    pub key: String,
    /// Its value, possibly empty.
    pub value: String,
    /// NoSchedule, PreferNoSchedule or NoExecute.
    pub effect: String,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of the node's object.
    pub node_name: String,
    /// The name the node calls itself by.
    pub host_name: String,
    /// The node's addresses, the preferred one first; at least one.
    pub node_ips: Vec<IpAddr>,
    /// The runtime's socket.
    pub runtime: Endpoint,
    /// Folder for pods' volumes.
    pub root: PathBuf,
    /// Folder for containers' logs.
    pub pod_logs: PathBuf,
    /// Parent of all pods' control groups, without slashes at the ends.
    pub cgroup_root: String,
    /// Who makes control groups.
    pub cgroup_driver: CgroupDriver,
    /// Name servers of pods.
    pub cluster_dns: Vec<IpAddr>,
    /// Domain of services and pods.
    pub cluster_domain: String,
    /// The node's own resolver configuration.
    pub resolv_conf: PathBuf,
    /// Make the node's object if there is none.
    pub register: bool,
    /// Labels that the node's object gets.
    pub labels: BTreeMap<String, String>,
    /// Taints that a new node object gets.
    pub taints: Vec<BirthTaint>,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// Where the kubelet serves.
    pub listen: SocketAddr,
    /// Authorities whose client certificates are believed.
    pub client_ca_file: Option<PathBuf>,
    /// Folder of the kubelet's own certificates.
    pub cert_dir: PathBuf,
    /// The cloud's name for the node.
    pub provider_id: Option<String>,
    /// Longest time between two writes of the node's status.
    pub status_interval: Duration,
    /// Size at which a log file is rotated.
    pub log_max_bytes: u64,
    /// Log files kept per container.
    pub log_max_files: usize,
}

/// A flag that makes no sense; the text names it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {problem}")]
pub struct InvalidFlag {
    flag: &'static str,
    problem: String,
}

fn invalid(flag: &'static str, problem: impl Into<String>) -> InvalidFlag {
    InvalidFlag { flag, problem: problem.into() }
}

impl TryFrom<Flags> for Config {
    type Error = InvalidFlag;

    fn try_from(flags: Flags) -> Result<Self, InvalidFlag> {
        let host_name =
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).map_err(
                |error| invalid("hostname-override", format!("no host name either: {error}")),
            )?;
        let node_name =
            flags.hostname_override.unwrap_or_else(|| host_name.clone()).trim().to_lowercase();
        if node_name.is_empty() {
            return Err(invalid("hostname-override", "is empty, and the host has no name"));
        }
        let node_ips = match flags.node_ip.is_empty() {
            false => flags.node_ip,
            true => vec![default_address().ok_or_else(|| {
                invalid("node-ip", "not given, and no default route tells which address to use")
            })?],
        };
        let labels = flags
            .node_labels
            .iter()
            .map(|label| label.split_once('=').ok_or(label))
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect::<Result<_, _>>()
            .map_err(|label| invalid("node-labels", format!("{label:?} is not name=value")))?;
        Ok(Self {
            node_name,
            host_name,
            node_ips,
            runtime: flags
                .container_runtime_endpoint
                .parse()
                .map_err(|problem: String| invalid("container-runtime-endpoint", problem))?,
            cert_dir: flags.cert_dir.unwrap_or_else(|| flags.root_dir.join("pki")),
            root: flags.root_dir,
            pod_logs: flags.pod_logs_dir,
            cgroup_root: flags.cgroup_root.trim_matches('/').to_owned(),
            cgroup_driver: match flags.cgroup_driver.as_str() {
                "cgroupfs" => CgroupDriver::Cgroupfs,
                "systemd" => CgroupDriver::Systemd,
                other => {
                    let problem = format!("{other:?} is neither cgroupfs nor systemd");
                    return Err(invalid("cgroup-driver", problem));
                }
            },
            cluster_dns: flags.cluster_dns,
            cluster_domain: flags.cluster_domain.trim_matches('.').to_owned(),
            resolv_conf: flags.resolv_conf,
            register: flags.register_node,
            labels,
            taints: flags
                .register_with_taints
                .iter()
                .map(|text| taint(text))
                .collect::<Result<_, _>>()?,
            max_pods: flags.max_pods,
            listen: SocketAddr::new(flags.address, flags.port),
            client_ca_file: flags.client_ca_file,
            provider_id: flags.provider_id,
            status_interval: Duration::from_secs(flags.node_status_report_frequency_seconds.max(1)),
            log_max_bytes: flags.container_log_max_mib.max(1) << 20,
            log_max_files: flags.container_log_max_files.max(2),
        })
    }
}

fn taint(text: &str) -> Result<BirthTaint, InvalidFlag> {
    let problem = || invalid("register-with-taints", format!("{text:?} is not key=value:effect"));
    let (key, effect) = text.rsplit_once(':').ok_or_else(problem)?;
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") || key.is_empty() {
        return Err(problem());
    }
    Ok(BirthTaint { key: key.into(), value: value.into(), effect: effect.into() })
}

/// The source address of the default route; asking for it sends nothing.
fn default_address() -> Option<IpAddr> {
    let of = |from: &str, towards: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(towards).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    of("0.0.0.0:0", "192.0.2.1:9").or_else(|| of("[::]:0", "[2001:db8::1]:9"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn parse(args: &[&str]) -> Result<Config, InvalidFlag> {
        let base = ["kubelet", "--node-ip", "192.0.2.7", "--hostname-override", "N1"];
        Cli::parse_from(base.iter().chain(args)).flags.try_into()
    }

    #[test]
    fn good_flags() {
        let config = parse(&[
            "--cgroup-root=/a/b/",
            "--node-labels=x=1,y=",
            "--register-with-taints=k=v:NoSchedule,only:NoExecute",
        ])
        .unwrap();
        assert_eq!(config.node_name, "n1");
        assert_eq!(config.cgroup_root, "a/b");
        assert_eq!(config.labels.get("y").map(String::as_str), Some(""));
        assert_eq!(config.taints[1].effect, "NoExecute");
        assert_eq!(config.listen.port(), 10250);
    }

    #[test]
    fn bad_flags_are_named() {
        for (args, flag) in [
            (["--cgroup-driver=color"], "cgroup-driver"),
            (["--node-labels=x"], "node-labels"),
            (["--register-with-taints=x:Never"], "register-with-taints"),
            (["--container-runtime-endpoint=tcp://x"], "container-runtime-endpoint"),
        ] {
            assert_eq!(parse(&args).unwrap_err().flag, flag);
        }
    }
}
