//! Headers, checksums, address rewrite and answers built in place (TCP resets, ICMP errors).
//!
//! Works on anything that implements [`Packet`]: an XDP or TC context in the kernel, a byte vector on
//! the host. It must never look into a table nor decide where a packet goes.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod buffer;
pub mod checksum;
mod headers;
mod reject;
mod rewrite;

pub use buffer::{Field, Packet};
pub use headers::{Headers, Kind, Wire, ethertype, parse, tcp_flags, version};
pub use reject::reject;
pub use rewrite::{Rewrite, decrement_ttl, forward_ethernet, rewrite};

#[cfg(any(test, feature = "std"))]
pub mod host;
