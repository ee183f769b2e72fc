//! The pin folder: where each map, program and link of a node lies, so that all of them outlive the
//! process that made them.
//!
//! ```text
//! DIR/maps/NAME        one per table
//! DIR/programs/NAME    one per hook, for processes that attach without loading
//! DIR/links/NAME       one per attachment; the kernel allows no dot in a name
//! ```

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    sys::{self, MapInfo},
};

/// The folder of the maps.
pub(crate) fn maps_dir(dir: &Path) -> PathBuf {
    dir.join("maps")
}

/// The folder of the programs.
pub(crate) fn programs_dir(dir: &Path) -> PathBuf {
    dir.join("programs")
}

/// The folder of the links.
pub(crate) fn links_dir(dir: &Path) -> PathBuf {
    dir.join("links")
}

/// Opens a pin of any kind.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    sys::obj_get(path).map_err(|source| Error::Pin {
        action: "open",
        path: path.to_path_buf(),
        source,
    })
}

/// Opens the map pinned as `name` and compares its layout with what this version expects.
pub(crate) fn open_map(
    maps_dir: &Path,
    name: &'static str,
    key_bytes: usize,
    value_bytes: usize,
) -> Result<(OwnedFd, MapInfo)> {
    let path = maps_dir.join(name);
    let fd = open(&path)?;
    let info = sys::map_info(fd.as_fd()).map_err(|source| Error::Pin {
        action: "inspect",
        path: path.clone(),
        source,
    })?;
    let fields =
        [("a key of", info.key_size, key_bytes), ("a value of", info.value_size, value_bytes)];
    for (field, found, expected) in fields {
        if found as usize != expected {
            let (table, expected) = (name.to_owned(), expected as u32);
            return Err(Error::Layout { table, field, found, expected, path });
        }
    }
    Ok((fd, info))
}

/// Pins `object` at `path` in the place of what is there, in one step: whoever opens the path finds
/// the old object or the new one.
pub(crate) fn replace(object: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let fresh = fresh(path);
    let error = |action| move |source| Error::Pin { action, path: path.to_path_buf(), source };
    remove_one(&fresh)?;
    sys::obj_pin(object, &fresh).map_err(error("pin"))?;
    std::fs::rename(&fresh, path).map_err(error("replace"))
}

/// Where [`replace`] pins an object before it takes the old one's place.
fn fresh(path: &Path) -> PathBuf {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push("_new");
    fresh.into()
}

/// Removes a pin, and what a replacement that was cut short has left of itself; whether the pin was there.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    remove_one(&fresh(path))?;
    remove_one(path)
}

fn remove_one(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Pin { action: "remove", path: path.to_path_buf(), source }),
    }
}

/// A name as a pin can have it: the kernel allows no dot.
pub(crate) fn name(name: &str) -> String {
    name.replace('.', "_")
}
