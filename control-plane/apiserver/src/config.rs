//! Flags, under upstream's names, and what they come to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use ipnet::IpNet;
use skep_auth::serviceaccount::DEFAULT_ISSUER;

/// The API server's flags.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// The control plane's folder: objects in `store`, certificates and keys in `pki`
    #[arg(long, default_value = "/var/lib/skep/server")]
    pub data_dir: PathBuf,
    /// The address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// The port to listen on
    #[arg(long, default_value_t = 6443)]
    pub secure_port: u16,
    /// The address that members of the cluster reach the server at; that of the default route if not given
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// Where Services get their addresses from; two ranges, comma-separated, for dual stack, that of
    /// Services that do not choose first
    #[arg(long, value_delimiter = ',', default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: Vec<IpNet>,
    /// Where Services get their node ports from, both ends included
    #[arg(long, default_value = "30000-32767", value_parser = parse_ports)]
    pub service_node_port_range: RangeInclusive<u16>,
    /// A serving certificate (PEM) in place of the one of the cluster's own authority
    #[arg(long, requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// The key of --tls-cert-file (PEM)
    #[arg(long, requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// One more name or address that the serving certificate answers for; may be repeated
    #[arg(long)]
    pub tls_san: Vec<String>,
    /// Authorities (PEM) of client certificates, in place of the cluster's own
    #[arg(long)]
    pub client_ca_file: Option<PathBuf>,
    /// Who signs service-account tokens, as they name it
    #[arg(long, default_value = DEFAULT_ISSUER)]
    pub service_account_issuer: String,
    /// What tokens must be for to be taken here; the issuer if not given
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// Whether requests without credentials are answered, as far as system:unauthenticated may
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub anonymous_auth: bool,
    /// Whether join tokens are taken
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub enable_bootstrap_token_auth: bool,
    /// The domain of the cluster's names
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// How many requests that only read may be in flight
    #[arg(long, default_value_t = 400)]
    pub max_requests_inflight: usize,
    /// How many requests that write may be in flight
    #[arg(long, default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
}

/// Checked flags.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) flags: Flags,
    /// The address that members of the cluster reach the server at.
    pub advertise_address: IpAddr,
}

impl TryFrom<Flags> for Config {
    type Error = anyhow::Error;

    fn try_from(flags: Flags) -> anyhow::Result<Self> {
        let ranges = &flags.service_cluster_ip_range;
        for range in ranges {
            let host_bits = range.max_prefix_len() - range.prefix_len();
            ensure!(
                (3..=20).contains(&host_bits),
                "--service-cluster-ip-range: {range} has {host_bits} host bits; give one with 3 to 20"
            );
        }
        let first = match ranges[..] {
            [first] => first,
            [first, second] if first.addr().is_ipv4() != second.addr().is_ipv4() => first,
            _ => bail!("--service-cluster-ip-range takes at most one range of each address family"),
        };
        let advertise_address = match flags.advertise_address {
            Some(address) => address,
            None if !flags.bind_address.is_unspecified() => flags.bind_address,
            None => default_address(first.addr())?,
        };
        ensure!(
            !advertise_address.is_unspecified(),
            "--advertise-address: {advertise_address} is no address that others can reach"
        );
        Ok(Self { flags, advertise_address })
    }
}

impl Config {
    /// Where Services that do not choose a family get their addresses from.
    pub(crate) fn first_service_range(&self) -> IpNet {
        self.flags.service_cluster_ip_range[0]
    }

    /// Where the cluster's certificates and keys lie.
    #[must_use]
    pub fn pki_folder(&self) -> PathBuf {
        self.flags.data_dir.join("pki")
    }

    /// The address and port that members of the cluster reach the server at.
    #[must_use]
    pub fn advertised(&self) -> SocketAddr {
        SocketAddr::new(self.advertise_address, self.flags.secure_port)
    }
}

/// What the running server needs of its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) advertise_address: SocketAddr,
    pub(crate) authority_pem: String,
    /// Whose client certificates extension API servers take for this server's.
    pub(crate) front_proxy_authority_pem: String,
    pub(crate) max_readonly: usize,
    pub(crate) max_mutating: usize,
}

impl Settings {
    pub(crate) fn advertised(&self) -> String {
        self.advertise_address.to_string()
    }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').ok_or("give it as FIRST-LAST")?;
    let port = |text: &str| match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is no port")),
        Ok(port) => Ok(port),
    };
    let (first, last): (u16, u16) = (port(first)?, port(last)?);
    if first > last { Err("the range is empty".to_owned()) } else { Ok(first..=last) }
}

/// The address this machine would use towards others. Nothing is sent.
fn default_address(family: IpAddr) -> anyhow::Result<IpAddr> {
    let (own, other) = match family {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let probe = UdpSocket::bind(own).context("look up the default route")?;
    match probe.connect(other).and_then(|()| probe.local_addr()) {
        Ok(address) => Ok(address.ip()),
        // No route to anywhere: a machine by itself.
        Err(_) => Ok(Ipv4Addr::LOCALHOST.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let arguments = ["apiserver"].iter().chain(arguments);
        let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
        Config::try_from(cli.flags).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_name_the_flag() {
        let cases = [
            (["--service-node-port-range", "30000"], "--service-node-port-range"),
            (["--service-node-port-range", "2-1"], "the range is empty"),
            (["--service-cluster-ip-range", "10.0.0.0/8"], "--service-cluster-ip-range"),
            (["--service-cluster-ip-range", "10.0.0.0/16,10.1.0.0/16"], "one range of each"),
            (["--advertise-address", "0.0.0.0"], "--advertise-address"),
            (["--tls-cert-file", "x"], "--tls-private-key-file"),
        ];
        for (arguments, expected) in cases {
            let error = config(&arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_bound_address_is_advertised() {
        let config = config(&["--bind-address", "127.0.0.1", "--secure-port", "7443"]).unwrap();
        assert_eq!(config.advertised().to_string(), "127.0.0.1:7443");
    }
}
