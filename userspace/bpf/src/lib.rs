//! Loads, attaches, pins and upgrades the programs; typed handles on the pinned maps.
//!
//! [`Tables`] is the contract with everybody who writes or reads the kernel's tables: the agent, the
//! CNI plugin (a process of its own that loads nothing) and the tools.

mod counters;
mod error;
mod events;
mod mapped;
mod pin;
mod record;
mod sys;
mod table;
mod tables;

pub use counters::Counters;
pub use error::{Error, Result};
pub use events::Events;
pub use mapped::{Mapped, Slots};
pub use record::Record;
pub use table::Table;
pub use tables::{FamilyTables, Tables};
