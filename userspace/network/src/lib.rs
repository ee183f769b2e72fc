//! The pod network: pods and nodes to addresses, devices, routes and tables; the CNI plugin.
//!
//! [`cni`] attaches pods and works with the agent down. The node part keeps tables and routes to other
//! nodes true. What decides is pure; what touches the kernel is thin.
#![forbid(unsafe_code)]

pub mod attachments;
pub mod cni;
pub mod conf;
pub mod config;
pub mod endpoints;
pub mod error;
pub mod host;
pub mod listeners;
pub mod namespace;
pub mod netlink;
pub mod node;
pub mod pod;
pub mod pool;
pub mod sockets;
pub mod sysctl;
pub mod topology;
pub mod uplink;
pub mod ways;

pub use config::{Config, Flags, HostConfig, HostFlags, Identity, Xdp};
pub use host::Host;
pub use node::run;
