//! Where the cluster's objects live: the [`Store`] trait with etcd's guarantees, and [`EmbeddedStore`],
//! which keeps them with no server beside it. Keys and values are opaque bytes here: this crate knows
//! nothing about Kubernetes, and nothing above it ever sees a file.
#![forbid(unsafe_code)]

mod embedded;
mod error;
mod kv;
mod store;
mod txn;
mod watch;

pub use embedded::{EmbeddedStore, Options, Stats};
pub use error::{Error, Result};
pub use kv::{KeyValue, LeaseId, Revision};
pub use store::{Range, RangeResult, Store, prefix_end};
pub use txn::{Compare, Expect, Op, Txn, TxnOutcome};
pub use watch::{Event, WatchBatch, WatchStream};
