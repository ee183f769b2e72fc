//! The names in a data folder, and the system calls that make a name or a removal durable.
//!
//! `LOCK`, `<revision>.log` (a segment: what happened after that revision) and `<revision>.snapshot`
//! (everything as of that revision). Sixteen hex digits, so that names sort as numbers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, Result, Revision};

pub(super) const SEGMENT: &str = "log";
pub(super) const SNAPSHOT: &str = "snapshot";
const UNFINISHED: &str = "unfinished";

pub(super) fn path(folder: &Path, revision: Revision, extension: &str) -> PathBuf {
    folder.join(format!("{:016x}.{extension}", revision.0))
}

pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

/// The files of one kind, oldest first.
pub(super) fn list(folder: &Path, extension: &str) -> Result<Vec<(Revision, PathBuf)>> {
    let entries = fs::read_dir(folder).map_err(Error::io(format!("read {}", folder.display())))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(format!("read {}", folder.display())))?.path();
        if path.extension().is_none_or(|found| found != extension) {
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if let Ok(revision) = u64::from_str_radix(stem, 16) {
            files.push((Revision(revision), path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Creates the folder if need be and takes its lock, which the returned file holds.
pub(super) fn open_folder(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::io(format!("create {}", folder.display())))?;
    let path = folder.join("LOCK");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(Error::io(format!("open {}", path.display())))?;
    lock.try_lock().map_err(|_| Error::Locked(folder.to_owned()))?;
    for (_, path) in list(folder, UNFINISHED)? {
        remove(&path)?;
    }
    Ok(lock)
}

pub(super) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(Error::io(format!("remove {}", path.display())))
}

/// Makes the folder's names durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let context = || format!("sync {}", folder.display());
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(context()))
}
