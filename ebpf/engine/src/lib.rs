//! The datapath's decisions, over a [`Tables`] trait.
//!
//! One engine, two homes: built for the kernel it runs over BPF maps (ebpf/programs), built for the
//! host it runs over hash maps ([`host`]), and both are held against the same table of packets. It must
//! never know Kubernetes, keep state of its own, or depend on anything but its tables and the packet.
//!
//! A hook's entry point decides what it can at first sight and names the next function where it cannot
//! (see [`Action::Open`]); [`carry_out`] then does to the packet what was decided:
//!
//! | hook | functions |
//! | --- | --- |
//! | from a pod | [`from_pod`], [`follow_error`], [`open_from_pod`], [`route_from_pod`] |
//! | from the stack to a pod | [`to_pod`], [`follow_error`] |
//! | from a device or the overlay, XDP included | [`from_node`], [`from_peer`], [`follow_error`], [`open_from_node`] |
//! | from the stack to a device | [`to_node`], [`follow_error`], [`open_from_host`] |
//! | from the stack to the overlay | [`peer_of`] |
//! | at sockets | [`connect`], [`believed_peer`] |
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod answer;
mod error;
mod flow;
mod follow;
mod fragment;
mod hash;
mod net;
mod node;
mod pod;
mod route;
mod service;
mod socket;
mod step;
mod tables;
mod traced;
mod tunnel;
mod verdict;

#[cfg(any(test, feature = "std"))]
mod decide;
#[cfg(any(test, feature = "std"))]
pub mod host;
#[cfg(any(test, feature = "std"))]
mod notes;

pub use answer::answer;
#[cfg(any(test, feature = "std"))]
pub use decide::decide;
pub use error::follow_error;
pub use flow::{Opening, end_closed, open_flows};
pub use net::Net;
pub use node::{from_node, from_peer, open_from_host, open_from_node, to_node};
#[cfg(any(test, feature = "std"))]
pub use notes::Notes;
pub use pod::{from_pod, open_from_pod, route_from_pod, to_pod};
pub use route::{peer_of, stays_on_link};
pub use socket::{Call, SocketVerdict, believed_peer, connect};
pub use step::{Step, carry_out, read};
pub use tables::{FlowTable, Seen, Tables};
pub use traced::{Notebook, Traced};
pub use tunnel::tunnel_mtu;
pub use verdict::{Action, Ingress, Verdict};
