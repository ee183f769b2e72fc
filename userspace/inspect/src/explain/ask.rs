//! From what a person types to who sends what to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, bail};
use serde::Serialize;
use skep_abi::{Family, Service, endpoint_flags, service_flags};
use skep_bpf::Tables;
use skep_network::endpoints;
use skep_proxy::frontend::Scope;
use skep_proxy::plan::RowKey;

use crate::filter::{is_called, protocol_number};
use crate::names::Resolver;
use crate::{Flags, services};

/// What is to be explained.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Where to: ADDRESS:PORT, or a Service or pod as NAME or NAMESPACE/NAME with :PORT behind it
    to: String,
    /// Who sends: `pod` (any of this node), `node`, `outside`, an address, or a pod's name
    #[arg(long, default_value = "pod")]
    from: String,
    /// Protocol: tcp, udp or sctp
    #[arg(long, value_parser = translatable)]
    proto: Option<u8>,
    /// The sender's port: backends are chosen by it, too
    #[arg(long, default_value_t = 40_000)]
    source_port: u16,
    /// Ask the engine on the host for every hook, and load nothing into the kernel
    #[arg(long)]
    pub(crate) on_host: bool,
}

fn translatable(text: &str) -> Result<u8, String> {
    match protocol_number(text)? {
        number @ (6 | 17 | 132) => Ok(number),
        _ => Err("expected tcp, udp or sctp".into()),
    }
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Sender {
    /// A pod of this node, behind this device.
    Pod(u32),
    /// The node itself.
    Node,
    /// Another node or one of its pods, by its index in `peers`.
    Peer(u32),
    /// Somebody outside of the cluster.
    Outside,
}

/// A question: the first packet of which connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) sender: Sender,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) protocol: u8,
}

/// Finds out what a query means on this node.
pub(crate) fn question(
    query: &Query,
    tables: &Tables,
    names: &Resolver,
) -> anyhow::Result<Question> {
    let outside = query.from == "outside";
    let (to, found) = target(&query.to, query.proto, outside, tables, names)?;
    let protocol = query.proto.or(found).unwrap_or(skep_abi::proto::TCP);
    let address = sender_address(&query.from, to.ip(), tables, names)?;
    if address.is_ipv4() != to.is_ipv4() {
        bail!("--from: {address} and {} are of different address families", to.ip());
    }
    let sender = match query.from.as_str() {
        "outside" => Sender::Outside,
        _ => who(tables, address)?,
    };
    Ok(Question { sender, from: SocketAddr::new(address, query.source_port), to, protocol })
}

/// The address and port, and the protocol where a Service has told it.
fn target(
    text: &str,
    protocol: Option<u8>,
    outside: bool,
    tables: &Tables,
    names: &Resolver,
) -> anyhow::Result<(SocketAddr, Option<u8>)> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok((socket, None));
    }
    let scope = if outside { Scope::Outside } else { Scope::Inside };
    let mut fronts = services::entries(tables)?;
    fronts.retain(|(key, _)| {
        let wanted = protocol.is_none_or(|wanted| wanted == key.protocol);
        key.scope == scope && key.port != 0 && wanted
    });
    // Of several, the Service's own address before node ports.
    fronts.sort_by_key(|(key, row)| {
        (row.flags & service_flags::NODE_PORT, key.address, key.port, key.protocol)
    });
    let found = |key: &RowKey| (SocketAddr::new(key.address, key.port), Some(key.protocol));
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let front = fronts.iter().find(|(key, _)| key.address == address);
        let (key, _) = front.with_context(|| format!("say which port of {text}: {text}:PORT"))?;
        return Ok(found(key));
    }
    // A Service, by its port's name or number or by any of its ports.
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, port.parse::<u16>().ok()),
        None => (text, None),
    };
    let is_meant = |(key, row): &&(RowKey, Service)| {
        let called = names.service(row.id);
        is_called(&called, text)
            || port.is_some_and(|port| port == key.port && is_called(&called, name))
    };
    if let Some((key, _)) = fronts.iter().find(is_meant) {
        return Ok(found(key));
    }
    if let Some(address) = names.pods_called(name).next() {
        let port = port.with_context(|| format!("say which port of the pod: {name}:PORT"))?;
        return Ok((SocketAddr::new(address, port), None));
    }
    let seen = if outside { " that is seen from outside" } else { "" };
    bail!(
        "no Service{seen} and no pod is called {text}: names come from --run-dir or --kubeconfig; \
         addresses always work"
    )
}

fn sender_address(
    text: &str,
    to: IpAddr,
    tables: &Tables,
    names: &Resolver,
) -> anyhow::Result<IpAddr> {
    match text {
        "pod" => {
            let mut pods: Vec<_> = endpoints::entries(tables)?
                .into_iter()
                .filter(|(address, endpoint)| {
                    endpoint.flags & endpoint_flags::POD != 0
                        && address.is_ipv4() == to.is_ipv4()
                        && *address != to
                })
                .map(|(address, _)| address)
                .collect();
            pods.sort_unstable();
            pods.first().copied().context(
                "no pod of this node can be the sender: say --from node, outside or ADDRESS",
            )
        }
        "node" => {
            let config = tables.config()?;
            let address = match to {
                IpAddr::V4(_) => skep_abi::V4::addr_to_ip(config.v4.node),
                IpAddr::V6(_) => skep_abi::V6::addr_to_ip(config.v6.node),
            };
            if address.is_unspecified() {
                bail!("the node has no address of this family");
            }
            Ok(address)
        }
        // RFC 5737 and RFC 3849: addresses that nobody has.
        "outside" => Ok(match to {
            IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 7).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into(),
        }),
        text => match text.parse() {
            Ok(address) => Ok(address),
            Err(_) => {
                let found = names.pods_called(text).find(|pod| pod.is_ipv4() == to.is_ipv4());
                found.with_context(|| {
                    format!("--from: expected pod, node, outside, an address or a pod, not {text}")
                })
            }
        },
    }
}

fn who(tables: &Tables, address: IpAddr) -> anyhow::Result<Sender> {
    let endpoints = endpoints::entries(tables)?;
    if let Some((_, endpoint)) = endpoints.iter().find(|(own, _)| *own == address) {
        let pod = endpoint.flags & endpoint_flags::POD != 0;
        return Ok(if pod { Sender::Pod(endpoint.ifindex) } else { Sender::Node });
    }
    let peer = match address {
        IpAddr::V4(_) => super::live::peer_of(&tables.v4, address)?,
        IpAddr::V6(_) => super::live::peer_of(&tables.v6, address)?,
    };
    Ok(peer.map_or(Sender::Outside, Sender::Peer))
}
