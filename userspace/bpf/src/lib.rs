//! Loads, attaches, pins and upgrades the programs; typed handles on the pinned maps.
//!
//! [`Tables`] is the contract with everybody who writes or reads the kernel's tables: the agent, the
//! CNI plugin (a process of its own that loads nothing) and the tools.

mod chunks;
mod clock;
mod counters;
mod datapath;
mod error;
mod events;
mod footprint;
mod harness;
mod links;
mod mapped;
mod object;
mod pin;
mod program;
mod record;
mod sizes;
mod sweep;
mod sys;
mod table;
mod tables;
mod test_run;
mod tracer;
mod usage;
mod verifier;

pub use clock::Clock;
pub use counters::Counters;
pub use datapath::Datapath;
pub use error::{Error, Result};
pub use events::{Events, Wanted};
pub use footprint::{frontend_bytes, service_port_bytes};
pub use harness::Flows;
pub use links::{Attachment, Links, XdpMode};
pub use mapped::{Mapped, Slots};
pub use program::{Kind, Program};
pub use record::Record;
pub use sizes::Sizes;
pub use sweep::{Swept, Timeouts};
pub use sys::{monotonic_ns, netns_cookie};
pub use table::Table;
pub use tables::{FamilyTables, Tables};
pub use test_run::{Measured, Outcome, TestRun};
pub use tracer::Tracer;
pub use usage::{Connections, Usage};
pub use verifier::{Judgement, judge_all};
