//! From a pod to what the runtime is asked for: sandbox and container configurations, pure.

pub(crate) mod container;
pub(crate) mod environment;
pub(crate) mod fields;
pub(crate) mod sandbox;
pub(crate) mod security;
