//! What a request is about, read from its method, path and query before anything is done.

pub(crate) mod info;
pub(crate) mod options;
pub(crate) mod query;

pub(crate) use info::{Info, ResourcePath, Verb};
pub(crate) use query::Query;
