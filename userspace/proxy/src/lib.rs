//! The service proxy: Services and EndpointSlices to the datapath's tables.
//!
//! The middle is pure: [`desired`] turns objects into what each Service asks of this node, [`plan`]
//! turns that into rows that differ from what the tables hold. The edges watch the API and write. No
//! packet is ever touched here, and nothing is flushed at start: what is in the tables serves on.
#![forbid(unsafe_code)]

mod alone;
pub mod arena;
pub mod backend_ids;
pub mod config;
pub mod desired;
mod detect;
pub mod endpoint;
pub mod frontend;
pub mod guard;
pub mod health;
pub mod health_checks;
pub mod held;
pub mod host_ports;
mod http;
pub mod local_node;
pub mod maglev;
pub mod metrics;
pub mod names;
pub mod notices;
pub mod objects;
pub mod plan;
mod ranges;
mod refusals;
pub mod room;
pub mod rows;
mod run;
pub mod selection;
pub mod service;
pub mod special;
mod state;
mod triggers;
pub mod verify;
pub mod watch;
pub mod ways;

pub use alone::{clean_up, run_alone};
pub use config::{AloneFlags, Config, Flags, Settings};
pub use run::run;
