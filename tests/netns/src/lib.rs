//! Small networks of namespaces for tests: two nodes with pods, a switch, and an outside.
//!
//! Pods are wired by the CNI plugin's own code, tables are filled by the proxy's own functions, packets
//! are sent by real sockets. Where a test is about the agent, that runs as a process of its own, against
//! skep's own API server. No container runtime is involved. A [`World`] removes all that it made when it
//! is dropped, and what killed runs left behind when it is made.
#![forbid(unsafe_code)]

pub mod agent;
pub mod api;
pub mod attached;
pub mod command;
mod guard;
pub mod load;
mod node;
mod probe;
pub mod responder;
mod services;
pub mod talk;
mod tool;
mod wait;
mod world;

pub use agent::Agent;
pub use api::Api;
pub use attached::{Attached, Objects};
pub use guard::Guard;
pub use node::{Node, Pod};
pub use probe::{Client, Place, Rush, Server, Steady, Visit, Visits};
pub use services::Services;
pub use wait::{length, wait_for};
pub use world::World;
