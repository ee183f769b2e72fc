//! Pods to containers, through CRI.
//!
//! What a pod needs next is decided by pure functions over values: [`plan`](mod@plan) (actions),
//! [`status`] (what the API server is told), [`spec`] (what the runtime is asked for). A worker per pod
//! looks, plans, acts and waits; it keeps nothing that it could not find again, so that a kubelet that
//! comes back disturbs no container.

#![forbid(unsafe_code)]

mod admission;
mod backoff;
pub mod bootstrap;
mod certificate;
mod cgroup;
mod config;
mod dns;
mod events;
mod eviction;
mod expand;
mod garbage;
mod hook;
mod hosts;
mod identity;
mod images;
mod kubelet;
mod logs;
mod machine;
mod memory;
mod node;
mod objects;
mod observe;
mod plan;
mod pods;
mod probe;
mod pull_secrets;
mod qos;
mod quantity;
mod resources;
mod role;
mod run;
mod server;
mod spec;
mod start;
mod status;
mod tokens;
mod trust_bundles;
mod volume;
mod worker;

pub use config::{BirthTaint, CgroupDriver, Config, Flags, InvalidFlag};
pub use run::run;
