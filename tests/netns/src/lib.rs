//! Small networks of namespaces for tests: two nodes with pods, a switch, and an outside.
//!
//! Pods are wired by the CNI plugin's own code, tables are filled by the proxy's own functions, packets
//! are sent by real sockets. No container runtime and no API is involved. A [`World`] removes all that
//! it made when it is dropped, and what killed runs left behind when it is made.
#![forbid(unsafe_code)]

pub mod command;
mod guard;
mod node;
mod probe;
pub mod responder;
mod services;
mod tool;
mod world;

pub use guard::Guard;
pub use node::{Node, Pod};
pub use probe::{Client, Place, Server, Steady};
pub use services::Services;
pub use world::World;
