//! What the controllers are told on the command line, and what is made of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use skep_auth::pki::Authority;

use crate::leader::{Election, ElectionFlags, duration};
use crate::names;
use crate::node_ipam::ClusterRange;

/// kube-controller-manager's flags, as far as they mean the same here.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Controllers")]
#[group(skip)]
pub struct Flags {
    /// Address range of all pods; two, comma-separated, for dual stack
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub cluster_cidr: Vec<IpNet>,
    /// Address range of all services
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub service_cluster_ip_range: Vec<IpNet>,
    /// Give every node a part of --cluster-cidr
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub allocate_node_cidrs: bool,
    /// Prefix length of a node's part of the cluster's range [default: 24 for IPv4, 64 for IPv6]
    #[arg(long, value_name = "BITS")]
    pub node_cidr_mask_size: Option<u8>,
    /// The same, for IPv4
    #[arg(long, value_name = "BITS")]
    pub node_cidr_mask_size_ipv4: Option<u8>,
    /// The same, for IPv6
    #[arg(long, value_name = "BITS")]
    pub node_cidr_mask_size_ipv6: Option<u8>,
    /// Certificate (PEM) of the authority that signs certificate requests
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// Private key (PEM) of that authority
    #[arg(long, value_name = "FILE")]
    pub cluster_signing_key_file: Option<PathBuf>,
    /// The longest a signed certificate is valid
    #[arg(long, value_parser = duration, default_value = "8760h", value_name = "DURATION")]
    pub cluster_signing_duration: Duration,
    /// Certificate (PEM) of the API server's authority, published to every namespace
    #[arg(long, value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,
    /// The lease.
    #[command(flatten)]
    pub election: ElectionFlags,
    /// Controllers to run: `*` for those on by default, NAME for one more, -NAME for one less
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "*",
        allow_hyphen_values = true,
        value_name = "NAMES"
    )]
    pub controllers: Vec<String>,
    /// How long a node may be silent before it counts as gone
    #[arg(long, value_parser = duration, default_value = "50s", value_name = "DURATION")]
    pub node_monitor_grace_period: Duration,
    /// How often nodes are looked at
    #[arg(long, value_parser = duration, default_value = "5s", value_name = "DURATION")]
    pub node_monitor_period: Duration,
    /// How many ended pods may stay before the oldest are deleted; 0 for no limit
    #[arg(long, default_value_t = 12500, value_name = "COUNT")]
    pub terminated_pod_gc_threshold: usize,
    /// The most endpoints in one slice
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "COUNT")]
    pub max_endpoints_per_slice: u16,
    /// How many deployments are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_deployment_syncs: usize,
    /// How many daemon sets are worked on at a time
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    pub concurrent_daemonset_syncs: usize,
    /// How many jobs are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_job_syncs: usize,
    /// How many stateful sets are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_statefulset_syncs: usize,
    /// How many cron jobs are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_cron_job_syncs: usize,
    /// How many replica sets are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_replicaset_syncs: usize,
    /// How many replication controllers are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_rc_syncs: usize,
    /// How many services are worked on at a time
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_service_endpoint_syncs: usize,
    /// How many services are worked on at a time for the older Endpoints
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub concurrent_endpoint_syncs: usize,
    /// How many namespaces are worked on at a time
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    pub concurrent_namespace_syncs: usize,
    /// How many objects the garbage collector works on at a time
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    pub concurrent_gc_syncs: usize,
}

/// A flag that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that a flag names cannot be read.
    #[error("{flag} {}: {source}", path.display())]
    File {
        /// The flag.
        flag: &'static str,
        /// What it named.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// One of two flags that go together is missing.
    #[error("{given} needs {missing} as well")]
    Pair {
        /// The flag that is there.
        given: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The certificate and the key do not make an authority.
    #[error("--cluster-signing-cert-file and --cluster-signing-key-file: {0}")]
    Authority(String),
    /// A controller that does not exist.
    #[error("--controllers: there is no controller {0:?}")]
    Controller(String),
    /// Node ranges need a cluster range.
    #[error("--allocate-node-cidrs needs --cluster-cidr")]
    NoClusterCidr,
    /// More than one range of a family.
    #[error("--cluster-cidr takes at most one range of each address family")]
    ClusterCidrs,
    /// A cluster range that cannot be cut into parts for the nodes.
    #[error("{0}")]
    NodeRange(String),
    /// Lease times that do not fit together.
    #[error("{0}")]
    LeaderElection(String),
}

/// The authority that signs certificate requests.
pub struct Signing {
    /// Certificate and key.
    pub authority: Authority,
    /// The longest a certificate is valid.
    pub longest: Duration,
}

/// Flags that have been checked, with the files they name read.
pub struct Config {
    pub(crate) controllers: BTreeSet<&'static str>,
    pub(crate) cluster_ranges: Vec<ClusterRange>,
    pub(crate) signing: Option<Signing>,
    pub(crate) root_ca: Option<String>,
    pub(crate) election: Option<Election>,
    pub(crate) flags: Flags,
}

impl Config {
    /// Replaces the signing authority, for a process that has it in memory.
    #[must_use]
    pub fn with_signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Replaces the certificate (PEM) published to every namespace.
    #[must_use]
    pub fn with_root_ca(mut self, certificate: String) -> Self {
        self.root_ca = Some(certificate);
        self
    }

    pub(crate) fn runs(&self, name: &str) -> bool {
        self.controllers.contains(name)
    }
}

impl TryFrom<Flags> for Config {
    type Error = ConfigError;

    fn try_from(flags: Flags) -> Result<Self, ConfigError> {
        let controllers = names::chosen(&flags.controllers).map_err(ConfigError::Controller)?;
        let cluster_ranges = cluster_ranges(&flags)?;
        let certificate =
            read("--cluster-signing-cert-file", flags.cluster_signing_cert_file.as_ref())?;
        let key = read("--cluster-signing-key-file", flags.cluster_signing_key_file.as_ref())?;
        let signing = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let authority = Authority::from_pem(&certificate, &key)
                    .map_err(|error| ConfigError::Authority(error.to_string()))?;
                Some(Signing { authority, longest: flags.cluster_signing_duration })
            }
            (Some(_), None) => {
                return Err(ConfigError::Pair {
                    given: "--cluster-signing-cert-file",
                    missing: "--cluster-signing-key-file",
                });
            }
            (None, Some(_)) => {
                return Err(ConfigError::Pair {
                    given: "--cluster-signing-key-file",
                    missing: "--cluster-signing-cert-file",
                });
            }
        };
        let root_ca = read("--root-ca-file", flags.root_ca_file.as_ref())?;
        let election = election(&flags.election)?;
        Ok(Self { controllers, cluster_ranges, signing, root_ca, election, flags })
    }
}

fn election(flags: &ElectionFlags) -> Result<Option<Election>, ConfigError> {
    if !flags.leader_elect {
        return Ok(None);
    }
    let election = flags.clone().election("kube-controller-manager");
    election.check().map_err(|problem| ConfigError::LeaderElection(problem.into()))?;
    Ok(Some(election))
}

fn cluster_ranges(flags: &Flags) -> Result<Vec<ClusterRange>, ConfigError> {
    if !flags.allocate_node_cidrs {
        return Ok(Vec::new());
    }
    let nets = &flags.cluster_cidr;
    if nets.is_empty() {
        return Err(ConfigError::NoClusterCidr);
    }
    let is_v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
    let v4_count = nets.iter().filter(|net| is_v4(net)).count();
    if v4_count > 1 || nets.len() - v4_count > 1 {
        return Err(ConfigError::ClusterCidrs);
    }
    let range = |net: &IpNet| {
        let own = if is_v4(net) {
            flags.node_cidr_mask_size_ipv4
        } else {
            flags.node_cidr_mask_size_ipv6
        };
        let default = if is_v4(net) { 24 } else { 64 };
        let node_prefix = own.or(flags.node_cidr_mask_size).unwrap_or(default);
        ClusterRange { net: *net, node_prefix }
    };
    Ok(nets.iter().map(range).collect())
}

fn read(flag: &'static str, path: Option<&PathBuf>) -> Result<Option<String>, ConfigError> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(None) };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) => Err(ConfigError::File { flag, path: path.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let arguments = ["test"].iter().chain(arguments);
        let command = Command::try_parse_from(arguments).map_err(|error| error.to_string())?;
        Config::try_from(command.flags).map_err(|error| error.to_string())
    }

    #[test]
    fn node_ranges_come_from_the_flags() {
        let config = config(&["--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16,fd00::/48"]);
        let prefixes: Vec<u8> =
            config.unwrap().cluster_ranges.iter().map(|range| range.node_prefix).collect();
        assert_eq!(prefixes, [24, 64]);
    }

    #[test]
    fn a_bad_flag_is_named() {
        for (arguments, expected) in [
            (&["--allocate-node-cidrs"][..], "--cluster-cidr"),
            (
                &["--allocate-node-cidrs=true", "--cluster-cidr=10.0.0.0/16,10.1.0.0/16"],
                "--cluster-cidr",
            ),
            (&["--root-ca-file=/does/not/exist"], "--root-ca-file /does/not/exist"),
            (&["--controllers=*,-nothing"], "\"nothing\""),
            (&["--cluster-cidr=10.0.0.0"], "--cluster-cidr"),
            (&["--leader-elect-retry-period=20s"], "--leader-elect-retry-period"),
        ] {
            let error = config(arguments).err().unwrap_or_default();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
