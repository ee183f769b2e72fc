//! Work inside another network namespace.
//!
//! A thread belongs to one namespace; the process's other threads must not notice. So each piece of
//! work gets a thread of its own, which ends in the namespace it went to.

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use crate::error::{Error, Result};

/// An open network namespace.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// Opens the namespace behind a file such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|source| Error::Namespace { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// The namespace's file, to move a device there.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` in a new thread inside the namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let fail = |source| Error::Namespace { path: self.path.clone(), source };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into());
            let entered = move || {
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            };
            let handle = thread.spawn_scoped(scope, entered).map_err(fail)?;
            match handle.join() {
                Ok(outcome) => outcome.map_err(|errno: nix::Error| fail(errno.into())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs an asynchronous `work` inside the namespace, with a runtime of its own.
    pub fn block_on<T: Send, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        self.run(|| block_on(work()))?
    }
}

/// Runs a future to its end on the current thread, with a small runtime made for it.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let fail = |source: io::Error| Error::File {
        action: "start a runtime for",
        path: "netlink".into(),
        source,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    runtime.block_on(work)
}
