//! The stream of changes: ordered, without gap, one batch per revision.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Error, KeyValue, Result, Revision};

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// What it holds now; nothing after a deletion.
    pub current: Option<KeyValue>,
    /// What it held before; nothing at a creation.
    pub previous: Option<KeyValue>,
}

/// Everything that one revision changed within the watched range. Without events it is progress: all
/// up to `revision` has been delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The revision.
    pub revision: Revision,
    /// Its changes.
    pub events: Vec<Event>,
}

/// A running watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct WatchStream {
    /// Only what comes after this is told: a watch may begin in the future.
    after: Revision,
    replay: std::vec::IntoIter<Arc<WatchBatch>>,
    live: mpsc::Receiver<Arc<WatchBatch>>,
}

impl WatchStream {
    pub(crate) fn new(
        after: Revision,
        replay: Vec<Arc<WatchBatch>>,
        live: mpsc::Receiver<Arc<WatchBatch>>,
    ) -> Self {
        Self { after, replay: replay.into_iter(), live }
    }

    /// The next batch, in revision order.
    ///
    /// # Errors
    /// [`Error::WatchCut`] once the reader has fallen behind, or the store has closed: nothing follows.
    pub async fn next(&mut self) -> Result<Arc<WatchBatch>> {
        if let Some(batch) = self.replay.next() {
            return Ok(batch);
        }
        loop {
            let batch = self.live.recv().await.ok_or(Error::WatchCut)?;
            if batch.revision > self.after || batch.events.is_empty() {
                return Ok(batch);
            }
        }
    }
}
