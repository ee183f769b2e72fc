//! The Kubernetes API over a store: one set of verbs for every kind in the registry, no handler per
//! kind. The same service answers over HTTPS and, for the components in this process, in memory.
//! Controllers, the scheduler and nodes come in through the API and never touch the store.
#![forbid(unsafe_code)]

mod admission;
mod answer;
mod bootstrap;
mod call;
mod config;
mod discovery;
mod facts;
mod health;
mod http;
mod identity;
mod limits;
mod local;
mod metrics;
mod objects;
mod request;
mod reviews;
mod run;
mod server;
mod services;
mod subresource;
mod verbs;
mod watch;

pub use config::{Config, Flags};
pub use http::{Body, BoxError};
pub use local::local_client;
pub use run::{Running, run, start};
pub use server::ApiServer;
