//! Containers' logs, in the format that runtimes write.

pub(crate) mod line;
pub(crate) mod reader;
pub(crate) mod rotate;
