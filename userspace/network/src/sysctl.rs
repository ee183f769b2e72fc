//! Kernel settings of the current network namespace, under `/proc/sys/net`.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// Writes a setting unless it already has the value. `/proc/sys/net` shows the namespace of the thread
/// that reads it.
pub fn set(setting: &str, value: &str) -> Result<()> {
    let path = PathBuf::from("/proc/sys/net").join(setting);
    let current = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    if current.trim() == value {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(Error::file("write", &path))
}
