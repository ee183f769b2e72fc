//! The proxy's flags, with upstream's names where they mean the same, and its settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

/// Flags of the proxy, alone or in an agent.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Serve node ports only on addresses in these ranges; on all of the node's when not given
    #[arg(long, value_delimiter = ',')]
    pub nodeport_addresses: Vec<IpNet>,
    /// Address and port of the proxy's health check; empty for none
    #[arg(long = "healthz-bind-address", id = "proxy-healthz", default_value = "0.0.0.0:10256")]
    pub healthz_bind_address: String,
}

/// Flags of the proxy in a process of its own.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct AloneFlags {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub proxy: Flags,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub host: skep_network::HostFlags,
    /// The node's name in the API; the host's name when not given
    #[arg(long)]
    pub hostname_override: Option<String>,
    /// The node's address; that of its default route's device when not given
    #[arg(long)]
    pub node_ip: Option<IpAddr>,
    /// Where names for the tools are kept
    #[arg(long, default_value = "/run/skep")]
    pub run_dir: PathBuf,
}

/// Settings of the proxy.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name in the API.
    pub node_name: String,
    /// Ranges of the addresses on which node ports are served; all when empty.
    pub node_port_ranges: Vec<IpNet>,
    /// Where the health check listens.
    pub healthz: Option<SocketAddr>,
    /// Where names for the tools are kept.
    pub run_dir: PathBuf,
}

impl Config {
    /// Checks the flags; errors name the one that is wrong.
    pub fn new(flags: Flags, node_name: String, run_dir: PathBuf) -> anyhow::Result<Self> {
        anyhow::ensure!(!node_name.is_empty(), "the node has no name: set --hostname-override");
        Ok(Self {
            node_name,
            node_port_ranges: flags.nodeport_addresses,
            healthz: bind_address(&flags.healthz_bind_address)?,
            run_dir,
        })
    }

    /// Whether node ports are served on this address.
    pub fn serves_node_ports_on(&self, address: IpAddr) -> bool {
        let ranges = &self.node_port_ranges;
        ranges.is_empty() || ranges.iter().any(|range| range.contains(&address))
    }
}

/// An address alone gets upstream's port.
fn bind_address(text: &str) -> anyhow::Result<Option<SocketAddr>> {
    const PORT: u16 = 10_256;
    if text.is_empty() {
        return Ok(None);
    }
    let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
    match text.parse().ok().or_else(alone) {
        Some(address) => Ok(Some(address)),
        None => anyhow::bail!("--healthz-bind-address: {text:?} is not ADDRESS:PORT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(bind_address(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn node_ports_can_be_kept_to_ranges() {
        let config = |ranges: &[&str]| Config {
            node_name: "a".into(),
            node_port_ranges: ranges.iter().map(|r| r.parse().expect("range")).collect(),
            healthz: None,
            run_dir: PathBuf::new(),
        };
        let address = "192.0.2.10".parse().expect("address");
        assert!(config(&[]).serves_node_ports_on(address));
        assert!(config(&["192.0.2.0/24"]).serves_node_ports_on(address));
        assert!(!config(&["10.0.0.0/8"]).serves_node_ports_on(address));
    }
}
