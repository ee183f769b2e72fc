//! Pods to nodes: upstream's scheduling framework with its default plugins.
//!
//! [`scheduler`] is the whole without its edges: [`cluster`] and [`queue`] are what it knows,
//! [`cycle`] finds a node for a pod by asking the [`plugins`], [`preemption`] makes room. [`run()`]
//! puts it between watches and the API.
#![forbid(unsafe_code)]

pub mod budget;
pub mod cluster;
mod config;
pub mod cycle;
pub mod diagnosis;
pub mod node;
mod outbox;
pub mod plugin;
pub mod plugins;
pub mod pod;
pub mod preemption;
mod quantity;
pub mod queue;
pub mod resources;
mod run;
pub mod scheduler;
pub mod selector;
pub mod volumes;
mod watch;

pub use config::{Config, ConfigError, Flags};
pub use run::run;
