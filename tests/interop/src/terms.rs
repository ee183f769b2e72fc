//! The words of a case: who asks, which address of a Service, over which protocol, in which family.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The name in Services and EndpointSlices.
    pub(crate) fn in_objects(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

/// Who asks. Packets of all of them are translated, if at all, on node1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sender {
    /// A pod of node1 that is itself an endpoint of many Services.
    Endpoint,
    /// A pod of node1 that is an endpoint of none.
    Pod,
    /// A process of node1.
    Node,
    /// A pod of node2.
    FarPod,
    /// A process of node2.
    FarNode,
    /// A host that is not part of the cluster.
    Outside,
}

impl Sender {
    pub(crate) const ALL: [Self; 6] =
        [Self::Endpoint, Self::Pod, Self::Node, Self::FarPod, Self::FarNode, Self::Outside];

    /// Whether it sits on node1.
    pub(crate) fn is_near(self) -> bool {
        matches!(self, Self::Endpoint | Self::Pod | Self::Node)
    }
}

/// An address of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    Cluster,
    /// The cluster address on a port that the Service does not have.
    ClusterOtherPort,
    /// The node port on the address that node1 is known by.
    NodePort,
    /// The node port on another address of node1.
    NodePortSecond,
    /// The node port on node1's loopback address.
    NodePortLoopback,
    External,
    /// A load balancer's address that arrives at the node unchanged.
    Balancer,
    /// The address of a load balancer that ends connections itself.
    BalancerProxy,
}

impl Address {
    pub(crate) const ALL: [Self; 8] = [
        Self::Cluster,
        Self::ClusterOtherPort,
        Self::NodePort,
        Self::NodePortSecond,
        Self::NodePortLoopback,
        Self::External,
        Self::Balancer,
        Self::BalancerProxy,
    ];

    /// Whether `sender` can mean node1's treatment of this address.
    pub(crate) fn is_open_to(self, sender: Sender) -> bool {
        match self {
            Self::NodePortLoopback => sender == Sender::Node,
            // The proxy of its own node translates it, and answers to pods beside it pass node1 by.
            Self::Cluster | Self::ClusterOtherPort => sender != Sender::FarPod,
            _ => true,
        }
    }
}

macro_rules! spelled {
    ($($name:ident),*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        })*
    };
}
spelled!(Family, Protocol, Sender, Address);
