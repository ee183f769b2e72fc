//! Kinds as data. A kind is its schema, read from generated tables, and a short list of named hooks:
//! defaults, validation, strategy, columns. The same schema decodes and encodes JSON, YAML and
//! protobuf, applies patches, prints tables and renders OpenAPI. This crate does no IO and knows no
//! clock: time, where it matters, is an argument.
//!
//! An object in flight is an [`Object`], a JSON tree in *canonical* form: as upstream's Go types would
//! hold it, without nulls, and without zero values that `omitempty` leaves out. Two canonical trees are
//! equal exactly when upstream's `apiequality.Semantic` calls the objects equal.
#![forbid(unsafe_code)]

pub mod codec;
pub mod convert;
pub mod defaults;
pub mod discovery;
pub mod fields;
pub mod go_time;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod registry;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategy;
pub mod syntax;
pub mod table;
pub mod validate;

/// An object in flight: a JSON tree, guided by its kind's schema.
pub type Object = serde_json::Value;

pub use names::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use registry::builtin;
pub use status::Status;
