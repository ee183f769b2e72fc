//! What can go wrong in a store, told so that the caller can act on it.

use std::path::PathBuf;

use crate::Revision;

/// The result of every store call.
pub type Result<T> = std::result::Result<T, Error>;

/// A store's errors.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The asked revision's history is gone.
    #[error("revision {asked} has been compacted: the oldest one kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can still be read or watched from.
        oldest: Revision,
    },
    /// The asked revision does not exist yet.
    #[error("revision {asked} is in the future: the store is at {current}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// The watcher did not keep up with its buffer and was cut off.
    #[error("the watch was cut: its reader fell behind by more than its buffer")]
    WatchCut,
    /// A put named a lease that was never granted or has run out.
    #[error("lease {0} does not exist or has expired")]
    NoSuchLease(u64),
    /// Data that had been acknowledged cannot be read back.
    #[error(
        "{file}: corrupt at byte {offset}: {reason}; restore the file from a backup, nothing was changed"
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the first unreadable frame begins.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Another process has this data folder open.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The disk refused; the store takes no further writes, because what it last wrote is unknown.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's answer.
        source: std::sync::Arc<std::io::Error>,
    },
    /// The store has been closed or has stopped after an IO error.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Wraps an IO error with what was being done.
    pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source: std::sync::Arc::new(source) }
    }
}
