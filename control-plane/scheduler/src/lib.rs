//! Pods to nodes: upstream's scheduling framework with its default plugins.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod cycle;
pub mod diagnosis;
pub mod node;
pub mod plugin;
pub mod plugins;
pub mod pod;
pub mod preemption;
mod quantity;
pub mod queue;
pub mod resources;
pub mod selector;
pub mod volumes;
