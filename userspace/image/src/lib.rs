//! Writes container images as OCI archives (image-spec 1.1, the layout of `ctr images import` and
//! `docker load`), so that a node without a registry has what it needs. Knows no network and runs nothing.
#![forbid(unsafe_code)]

mod archive;
mod layer;

pub use archive::write;
pub use layer::Entry;

/// What a container of the image runs, and as whom.
#[derive(Debug, Clone)]
pub struct Image {
    /// The reference that the runtime will know it by, such as `skep.local/pause:1`.
    pub reference: String,
    /// The single layer's contents, parents before children.
    pub entries: Vec<Entry>,
    /// The command.
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    pub arguments: Vec<String>,
    /// Environment as `NAME=value`.
    pub environment: Vec<String>,
    /// Numeric `uid:gid`, empty for root.
    pub user: String,
}
