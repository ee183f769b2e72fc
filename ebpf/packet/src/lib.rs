//! Headers, checksums, address rewrite, encapsulation and answers built in place (TCP resets, ICMP errors).
//!
//! Works on anything that implements [`Packet`]: an XDP or TC context in the kernel, a byte vector on
//! the host. It must never look into a table nor decide where a packet goes.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod buffer;
pub mod checksum;
pub mod crc;
pub mod extension;
mod headers;
mod quoted;
mod reject;
mod rewrite;
mod tunnel;

pub use buffer::{Field, Packet};
pub use headers::{Headers, Kind, Piece, Wire, ethertype, parse, parse_into, tcp_flags, version};
pub use quoted::{answer_to_quoted, rewrite_quoted};
pub use reject::{reject, tell_expired, tell_mtu};
pub use rewrite::{MAX_L4, Tuple, decrement_ttl, forward_ethernet, rewrite};
pub use tunnel::{Fit, encapsulate, fits_in_tunnel};

#[cfg(any(test, feature = "std"))]
pub mod host;
