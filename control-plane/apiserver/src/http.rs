//! HTTP without Kubernetes: bodies, content negotiation, the listening sockets.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod listen;

pub use body::{Body, BoxError};
