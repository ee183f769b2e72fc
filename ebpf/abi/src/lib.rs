//! Every key, value, event and constant that the programs in the kernel and user space share.
//!
//! The one definition of each: the programs are built from these types, and user space compares them
//! with the type information of the loaded object before it touches a table. So every type here is
//! plain: `repr(C)`, padding spelled out, no `bool`, no enum with data. It must never hold logic.
//!
//! Byte order: addresses and what ends in `_be` are as on the wire; all else is the machine's.
//! Time is in *ticks* (the kernel's jiffies: reading them costs a program a nanosecond);
//! [`Config::ticks_per_s`] converts.
#![no_std]
#![forbid(unsafe_code)]

mod backend;
mod config;
mod counter;
mod endpoint;
mod event;
mod family;
mod flow;
mod fragment;
mod node;
mod reason;
mod service;
mod socket;
mod trace;

pub use backend::{BACKENDS_PER_CHUNK, Backend, backend_state, via};
pub use config::{Config, FamilyConfig, PortRange, config_flags};
pub use counter::{COUNTERS, Counter, counter_index};
pub use endpoint::{Endpoint, EndpointKey, endpoint_flags, endpoint_translated};
pub use event::{Event, Listeners, event_kind};
pub use family::{Family, V4, V6, addr_to_v6_words};
pub use flow::{Flow, FlowKey, flow_flags, flow_state};
pub use fragment::{FragmentKey, FragmentPorts};
pub use node::{NO_PEER, NextHop, Node, NodeKey, Peer, next_hop_index, peer_mode};
pub use reason::{Hook, Reason};
pub use service::{
    AffinityKey, AffinityValue, LOCAL_BOND, NO_BACKEND, RANGE_ALLOWED, RangeKey, SLOTS_PER_BLOCK,
    SLOTS_PER_CHUNK, Service, ServiceKey, SlotBlock, scope, service_flags,
};
pub use socket::{SocketKey, SocketPeer};
pub use trace::{Trace, TraceStep, TraceTable};

/// IP protocol numbers that the tables' keys use.
pub mod proto {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// Internet Control Message Protocol for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
    /// In a [`crate::ServiceKey`] with port 0: any protocol.
    pub const ANY: u8 = 0;
}
