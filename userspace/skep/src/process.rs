//! What every long-running command needs of its process: a runtime, an end on SIGTERM, a pid file.

use std::path::Path;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` on a runtime until it ends.
///
/// # Errors
/// Those of `work`.
pub(crate) fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Cancelled on the first SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be received.
pub(crate) fn shutdown() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        ended.cancel();
    });
    Ok(token)
}

/// Writes this process's id to `NAME.pid` of the folder.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_pid(folder: &Path, name: &str) -> Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| {
            std::fs::write(folder.join(format!("{name}.pid")), std::process::id().to_string())
        })
        .with_context(|| format!("cannot write the pid file into {}", folder.display()))
}
