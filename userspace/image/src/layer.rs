//! One layer: a gzipped tar with fixed times and owners, so that the same contents give the same digest.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// One path of a layer, relative to the root.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A folder with this mode.
    Folder(String, u32),
    /// A file with this mode and content.
    File(String, u32, Vec<u8>),
    /// A symbolic link: path, target.
    Link(String, String),
}

/// A packed layer.
pub(crate) struct Layer {
    /// The gzipped tar.
    pub(crate) blob: Vec<u8>,
    /// SHA-256 of the tar before compression, lower-case hex.
    pub(crate) diff_id: String,
}

/// Packs `entries` in their order.
pub(crate) fn pack(entries: &[Entry]) -> std::io::Result<Layer> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        match entry {
            Entry::Folder(path, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                header.set_size(0);
                archive.append_data(&mut header, path, std::io::empty())?;
            }
            Entry::File(path, mode, content) => {
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content.as_slice())?;
            }
            Entry::Link(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    let plain = archive.into_inner()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&plain)?;
    Ok(Layer { blob: encoder.finish()?, diff_id: sha256(&plain) })
}

/// Lower-case hex SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
