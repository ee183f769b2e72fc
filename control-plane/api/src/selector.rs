//! Label and field selectors: upstream's syntax, upstream's errors.

mod field;
mod label;
mod parser;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Operator, Requirement};
