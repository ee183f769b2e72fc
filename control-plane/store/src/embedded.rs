//! A store in one folder, with no server: an index in memory that holds each object once, and a log that
//! every acknowledged write has reached. A kill -9 at any point loses nothing that was acknowledged and
//! leaves no half of a write.

mod files;
mod frame;
mod history;
mod index;
mod leases;
mod record;
mod segment;
mod snapshot;
mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use crate::{
    Error, KeyValue, LeaseId, Range, RangeResult, Result, Revision, Store, Txn, TxnOutcome,
    WatchStream,
};
use index::Index;
use record::Record;
use segment::Segment;
use writer::{Job, Writer};

/// Sizes of an embedded store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much of the past is kept in memory for watches to resume from, in bytes of keys and values.
    pub history_bytes: usize,
    /// How many batches may wait for a watcher before it is cut.
    pub watch_buffer: usize,
    /// The log is replaced by a snapshot when it has grown beyond this.
    pub log_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { history_bytes: 32 << 20, watch_buffer: 8192, log_bytes: 64 << 20 }
    }
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// How often it waited for the disk.
    pub syncs: u64,
    /// The keys alive.
    pub keys: usize,
}

/// A store in one folder. Clones share it; it closes, after finishing what it has begun, with the last one.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    watch_buffer: usize,
    _lock: File,
}

/// What callers and the writer both touch.
#[derive(Debug)]
struct Shared {
    index: RwLock<Index>,
    queue: Mutex<Queue>,
    wake: Condvar,
    syncs: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, created when absent, and reads back all that was acknowledged.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it, [`Error::Corrupt`] with file and offset for damage
    /// other than a torn tail, [`Error::Io`].
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        let lock = files::open_folder(folder)?;
        let mut index = Index::new(options.history_bytes);
        snapshot::load(folder, &mut index)?;
        let segments = files::list(folder, files::SEGMENT)?;
        for (place, (_, path)) in segments.iter().enumerate() {
            let newest = place + 1 == segments.len();
            segment::replay(path, newest, |record| apply(&mut index, record))?;
        }
        let log_bytes =
            segments.iter().filter_map(|(_, path)| path.metadata().ok()).map(|m| m.len()).sum();
        let segment = Segment::create(folder, index.revision())?;
        let shared = Arc::new(Shared {
            index: RwLock::new(index),
            queue: Mutex::default(),
            wake: Condvar::new(),
            syncs: AtomicU64::new(0),
        });
        let folder = folder.to_owned();
        let writer =
            Writer { shared: shared.clone(), folder, options, segment, log_bytes, snapshot: None };
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread =
            thread.spawn(|| writer.run()).map_err(Error::io("start the writer's thread"))?;
        let watch_buffer = options.watch_buffer;
        let inner = Inner { shared, writer: Some(thread), watch_buffer, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the store has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        Stats { syncs: shared.syncs.load(Ordering::Relaxed), keys: shared.index.read().len() }
    }

    async fn submit<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.inner.shared.queue.lock();
            if queue.closed {
                return Err(Error::Closed);
            }
            queue.jobs.push_back(job(reply));
        }
        self.inner.shared.wake.notify_one();
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// Takes a record of the log, fresh or read back, into the index. What the snapshot already has is skipped.
fn apply(index: &mut Index, record: Record) {
    match record {
        Record::Txn { revision, ops } if revision > index.revision() => index.apply(revision, &ops),
        Record::Lease { id, expires_unix_ms } if !index.leases.contains(id) => {
            index.leases.grant(id, expires_unix_ms);
        }
        Record::LeaseEnd { id } => index.leases.end(id),
        _ => {}
    }
}

impl Shared {
    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.wake.notify_all();
        self.index.write().close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Store for EmbeddedStore {
    fn revision(&self) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(async { Ok(self.inner.shared.index.read().revision()) })
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<KeyValue>>> {
        Box::pin(async move { Ok(self.inner.shared.index.read().get(&key)) })
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<RangeResult>> {
        Box::pin(async move { self.inner.shared.index.read().range(&range) })
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome>> {
        Box::pin(self.submit(|reply| Job::Txn(txn, reply)))
    }

    fn watch(&self, range: Range) -> BoxFuture<'_, Result<WatchStream>> {
        Box::pin(async move {
            if self.inner.shared.queue.lock().closed {
                return Err(Error::Closed);
            }
            self.inner.shared.index.write().watch(range, self.inner.watch_buffer)
        })
    }

    fn progress(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.inner.shared.index.write().progress();
            Ok(())
        })
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.inner.shared.index.write().compact(revision) })
    }

    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId>> {
        Box::pin(self.submit(move |reply| Job::Lease(ttl, reply)))
    }
}
