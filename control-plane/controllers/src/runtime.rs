//! The one small runtime under every controller: a shared cache per kind, keyed work queues with
//! back-off, bounded workers, and events. Nothing here knows what any controller does.

mod cache;
mod expectations;
mod informer;
mod object;
mod queue;
mod recorder;
mod workers;

pub use cache::{Cache, Change};
pub use expectations::Expectations;
pub use informer::{Informer, Informers};
pub use object::{Key, Kind, Objects, RequestError, is_already_exists, is_conflict, is_not_found};
pub use queue::{Leased, Queue};
pub use recorder::{Event, Recorder};
pub use workers::{Context, Controller, Next, Reconcile, Running};
