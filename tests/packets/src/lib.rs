//! Packets in, verdicts and packets out: a table of cases that the engine on the host and the programs
//! in the kernel have to pass with the same bytes, and the measurement of what a packet costs.
#![forbid(unsafe_code)]

pub mod bench;
pub mod case;
pub mod cases;
pub mod footprint;
pub mod frame;
pub mod host;
pub mod kernel;
pub mod world;
