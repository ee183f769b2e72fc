//! The controllers of a cluster, each a pure reconcile function over values and a thin edge that
//! watches, applies and tries again, all run by one small runtime over shared caches.
//!
//! Controllers meet the rest of the cluster only through the API: they run beside skep's own
//! apiserver in one process, or alone against any conformant one. They never read a store, a clock
//! or a random source inside a decision.
#![forbid(unsafe_code)]

mod bootstrap_token;
mod certificates;
mod cluster_role;
mod config;
mod cron_job;
mod daemon_set;
mod deployment;
mod discovery;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod error;
mod garbage;
mod history;
mod int_or_percent;
mod job;
mod job_ttl;
pub mod leader;
mod names;
mod namespace;
mod node_affinity;
mod node_ipam;
mod node_lifecycle;
mod owned_pods;
mod owner;
mod pod;
mod pod_gc;
mod pod_template;
mod pod_writer;
mod replica_set;
mod root_ca;
mod run;
pub mod runtime;
mod selector;
mod service_account;
mod stateful_set;
mod taint_eviction;
mod toleration;

pub use config::{Config, ConfigError, Flags, Signing};
pub use error::Error;
pub use run::run;
