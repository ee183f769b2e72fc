//! Which connections a person wants to see: the filters that flows, rates and events share.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use skep_proxy::frontend::Protocol;

use crate::names::Resolver;

/// What has to be true of a connection; what is not given matches everything.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Filter {
    /// Only connections from or to this address
    #[arg(long)]
    address: Option<IpAddr>,
    /// Only connections from or to this pod: NAME or NAMESPACE/NAME
    #[arg(long)]
    pod: Option<String>,
    /// Only connections to this Service: NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT
    #[arg(long)]
    service: Option<String>,
    /// Only connections to this backend: ADDRESS or ADDRESS:PORT
    #[arg(long)]
    backend: Option<BackendFilter>,
    /// Only connections of this protocol: tcp, udp, sctp, icmp or a number
    #[arg(long, value_parser = protocol_number)]
    pub(crate) protocol: Option<u8>,
    /// Only connections from or to this port
    #[arg(long)]
    port: Option<u16>,
}

/// A backend's address, with or without its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackendFilter {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for BackendFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self { address, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(socket) => Ok(Self { address: socket.ip(), port: Some(socket.port()) }),
            Err(_) => Err("expected ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT".into()),
        }
    }
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Every address and port that the connection has before or after translation.
    pub(crate) sockets: &'a [SocketAddr],
    /// Number of the protocol.
    pub(crate) protocol: u8,
    /// Number of the Service port, or 0.
    pub(crate) service: u32,
    /// The chosen backend.
    pub(crate) backend: Option<SocketAddr>,
}

impl Filter {
    /// Whether a connection is to be shown.
    pub(crate) fn admits(&self, subject: &Subject<'_>, names: &Resolver) -> bool {
        let any = |wanted: &dyn Fn(&SocketAddr) -> bool| subject.sockets.iter().any(wanted);
        let pod = |name: &String| {
            any(&|socket| names.pod(socket.ip()).is_some_and(|pod| is_called(pod, name)))
        };
        let backend = |wanted: BackendFilter| {
            subject.backend.is_some_and(|backend| {
                backend.ip() == wanted.address
                    && wanted.port.is_none_or(|port| port == backend.port())
            })
        };
        let service = |name: &String| {
            subject.service != 0 && is_called(&names.service(subject.service), name)
        };
        self.address.is_none_or(|address| any(&|socket| socket.ip() == address))
            && self.port.is_none_or(|port| any(&|socket| socket.port() == port))
            && self.protocol.is_none_or(|protocol| protocol == subject.protocol)
            && self.pod.as_ref().is_none_or(pod)
            && self.service.as_ref().is_none_or(service)
            && self.backend.is_none_or(backend)
    }
}

/// Whether `full`, a `NAMESPACE/NAME` or `NAMESPACE/NAME:PORT`, is what a person calls `wanted`.
pub(crate) fn is_called(full: &str, wanted: &str) -> bool {
    let whole = full.split_once(':').map_or(full, |(whole, _)| whole);
    let bare = |text: &str| text.split_once('/').is_some_and(|(_, name)| name == wanted);
    full == wanted || whole == wanted || bare(full) || bare(whole)
}

/// The number of a protocol by its name.
pub(crate) fn protocol_number(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp.number()),
        "udp" => Ok(Protocol::Udp.number()),
        "sctp" => Ok(Protocol::Sctp.number()),
        "icmp" => Ok(skep_abi::proto::ICMP),
        "icmpv6" => Ok(skep_abi::proto::ICMPV6),
        number => number.parse().map_err(|_| "expected tcp, udp, sctp, icmp or a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_bare_and_with_their_port() {
        let full = "shop/web:http";
        for wanted in ["shop/web:http", "shop/web", "web", "web:http"] {
            assert!(is_called(full, wanted), "{wanted}");
        }
        for wanted in ["shop", "we", "shop/we", "other/web", "http", "web:https"] {
            assert!(!is_called(full, wanted), "{wanted}");
        }
    }

    #[test]
    fn every_filter_that_is_given_has_to_hold() {
        let names = Resolver::of(&[(3, "shop/web:http")], &[("10.0.0.5", "shop/client")]);
        let socket = |text: &str| text.parse::<SocketAddr>().expect("a literal");
        let sockets = [socket("10.0.0.5:4000"), socket("10.96.0.1:80"), socket("10.0.1.7:8080")];
        let backend = Some(sockets[2]);
        let subject = Subject { sockets: &sockets, protocol: 6, service: 3, backend };
        let parse = |words: &[&str]| {
            use clap::Parser;
            #[derive(Parser)]
            struct Line {
                #[command(flatten)]
                filter: Filter,
            }
            Line::try_parse_from([&["x"], words].concat()).expect("a command line").filter
        };
        // (flags, whether the connection is shown)
        let cases: &[(&[&str], bool)] = &[
            (&[], true),
            (&["--pod", "client", "--service", "web", "--protocol", "tcp"], true),
            (&["--backend", "10.0.1.7", "--port", "80"], true),
            (&["--backend", "10.0.1.7:8080"], true),
            (&["--backend", "10.0.1.7:8081"], false),
            (&["--backend", "10.0.0.5"], false),
            (&["--pod", "web"], false),
            (&["--pod", "client", "--protocol", "udp"], false),
            (&["--service", "shop/other"], false),
            (&["--address", "10.96.0.1"], true),
            (&["--address", "10.96.0.2"], false),
            (&["--port", "443"], false),
        ];
        for (words, shown) in cases {
            assert_eq!(parse(words).admits(&subject, &names), *shown, "{words:?}");
        }
    }
}
