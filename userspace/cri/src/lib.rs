//! The client of a container runtime, generated from its protocol (CRI v1).
//!
//! [`Runtime`] holds one connection and gives the calls that a node agent makes, each with a deadline
//! and with errors that name the call. It keeps no state of its own: what runs is what the runtime says.

#![forbid(unsafe_code)]

mod endpoint;
mod error;
mod runtime;

/// The protocol's messages and clients, generated from `proto/runtime.proto`.
#[expect(missing_docs, reason = "the declarations are documented where they are published")]
#[expect(clippy::all, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

pub use endpoint::Endpoint;
pub use error::{Error, Result};
pub use runtime::Runtime;
