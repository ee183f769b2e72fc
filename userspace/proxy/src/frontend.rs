//! What a node should answer for: frontends and the sets of backends behind them.
//!
//! These are values in user space's own words, before ids and slots are allotted; nothing here
//! knows how the kernel's tables are laid out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A transport protocol that a Service port can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP, also when the object names none.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Parses the API's spelling; an empty protocol is TCP, an unknown one is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this IANA number, if a Service can have it.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Where the sender of a packet is, as far as traffic policies care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// This node and its own pods.
    Inside,
    /// Everybody else.
    Outside,
    /// Another node that has chosen a backend of this one and sends packets on as they came.
    Local,
}

/// One address that this node translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey {
    /// The address that clients use.
    pub address: IpAddr,
    /// The port that clients use.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Which senders the entry is for.
    pub scope: Scope,
}

impl fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)
    }
}

/// Why an address belongs to a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `spec.ports[].nodePort` on one of the node's addresses.
    NodePort,
    /// `spec.externalIPs`.
    ExternalIp,
    /// `status.loadBalancer.ingress[].ip`.
    LoadBalancer,
}

/// What happens to a packet for a frontend whose set is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhenEmpty {
    /// The Service has no endpoint anywhere: TCP reset or ICMP port unreachable.
    Reject,
    /// A Local policy hides the endpoints that exist: dropped, so that a client tries elsewhere.
    Drop,
}

/// Which source address backends see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SourceAddress {
    /// The client's where replies are sure to come back this way, the node's elsewhere.
    #[default]
    AsPlaced,
    /// The client's.
    Kept,
    /// The node's.
    Masked,
}

/// How a frontend treats its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frontend {
    /// Why the address belongs to the Service.
    pub kind: Kind,
    /// Index into [`PortTables::sets`].
    pub set: usize,
    /// Seconds for which a client stays with its backend.
    pub affinity_s: Option<NonZeroU32>,
    /// Only backends of this node serve it, and they see the client's own address.
    pub local_only: bool,
    /// What an empty set means.
    pub when_empty: WhenEmpty,
    /// Which source its backends see.
    pub source: SourceAddress,
    /// Only clients in [`PortTables::source_ranges`] may use it.
    pub ranged: bool,
    /// Backends on other nodes answer their clients straight.
    pub dsr: bool,
}

/// How an existing connection to a backend is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendState {
    /// Takes new connections.
    Active,
    /// Takes no new connection unless nothing else is left; existing ones go on.
    Terminating,
}

/// One backend of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// Where it listens: the pod's address and the target port.
    pub address: SocketAddr,
    /// How existing connections are treated.
    pub state: BackendState,
    /// Whether it runs on this node.
    pub local: bool,
}

/// The address family of frontends and of the backends behind them: traffic never changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Everything that one port of one Service asks of this node in one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortTables {
    /// The port's name in the Service; empty for a lone unnamed port.
    pub name: Arc<str>,
    /// The family of everything below.
    pub family: Family,
    /// The distinct sets of backends, each sorted by address: a set is written once, however many
    /// frontends use it.
    pub sets: Vec<Vec<Backend>>,
    /// The addresses and how each is treated.
    pub frontends: Vec<(FrontendKey, Frontend)>,
    /// Who may use the frontends that are ranged; of this family, sorted.
    pub source_ranges: Vec<IpNet>,
    /// Endpoints that get no new connection but still exist: what is open to them goes on.
    pub draining: Vec<Backend>,
}
