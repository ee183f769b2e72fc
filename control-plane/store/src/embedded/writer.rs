//! The one thread that writes. It takes all that is waiting, judges every transaction against what the
//! ones before it left, makes one frame of the whole batch, syncs once, and only then shows and
//! acknowledges it: so many writers share one sync, and nobody reads what could still be lost.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::index::Index;
use super::record::Record;
use super::segment::Segment;
use super::snapshot::Snapshot;
use super::{Options, Shared, frame};
use crate::{Error, Expect, KeyValue, LeaseId, Op, Result, Revision, Txn, TxnOutcome};

/// Something to write, and whom to tell.
#[derive(Debug)]
pub(super) enum Job {
    Txn(Txn, oneshot::Sender<Result<TxnOutcome>>),
    Lease(Duration, oneshot::Sender<Result<LeaseId>>),
}

impl Job {
    fn bytes(&self) -> usize {
        let op_bytes = |op: &Op| match op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        };
        match self {
            Self::Txn(txn, _) => txn.ops.iter().map(op_bytes).sum(),
            Self::Lease(..) => size_of::<LeaseId>(),
        }
    }
}

/// Once a batch has as many bytes, what is still waiting goes with the next sync.
const BATCH_BYTES: usize = 8 << 20;

/// The writer's own state.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) folder: PathBuf,
    pub(super) options: Options,
    pub(super) segment: Segment,
    /// The log since the last snapshot, all segments together.
    pub(super) log_bytes: u64,
    pub(super) snapshot: Option<JoinHandle<Result<()>>>,
}

/// A batch while it is judged: its records, what it changes, and the answers that wait for its sync.
#[derive(Debug)]
struct Batch {
    revision: Revision,
    last_lease: u64,
    records: Vec<Record>,
    changed: HashMap<Bytes, Option<KeyValue>>,
    ended: HashSet<LeaseId>,
    answers: Vec<Answer>,
}

#[derive(Debug)]
enum Answer {
    Txn(oneshot::Sender<Result<TxnOutcome>>, Result<TxnOutcome>),
    Lease(oneshot::Sender<Result<LeaseId>>, LeaseId),
}

impl Writer {
    /// Writes until the store closes or the disk fails.
    pub(super) fn run(mut self) {
        while let Some(jobs) = self.next_jobs() {
            if let Err(error) = self.write(jobs) {
                tracing::error!(%error, "the store takes no further writes");
                break;
            }
        }
        self.shared.close();
        if let Some(snapshot) = self.snapshot.take() {
            finish_snapshot(snapshot);
        }
    }

    /// Waits for work: jobs, or a lease that has run out. `None` when the store is closed and drained.
    fn next_jobs(&self) -> Option<Vec<Job>> {
        let mut queue = self.shared.queue.lock();
        loop {
            if !queue.jobs.is_empty() {
                let mut bytes = 0;
                let fits = |job: &&Job| {
                    let before = bytes;
                    bytes += job.bytes();
                    before < BATCH_BYTES
                };
                let count = queue.jobs.iter().take_while(fits).count();
                return Some(queue.jobs.drain(..count).collect());
            }
            if queue.closed {
                return None;
            }
            let next_expiry = self.shared.index.read().leases.next_expiry_unix_ms();
            match next_expiry {
                None => self.shared.wake.wait(&mut queue),
                Some(expiry) => {
                    let wait = Duration::from_millis(expiry.saturating_sub(now_unix_ms()));
                    if wait.is_zero() || self.shared.wake.wait_for(&mut queue, wait).timed_out() {
                        return Some(Vec::new());
                    }
                }
            }
        }
    }

    fn write(&mut self, jobs: Vec<Job>) -> Result<()> {
        let mut batch = self.judge(jobs);
        if !batch.records.is_empty() {
            let mut out = Vec::new();
            frame::append(&mut out, |out| batch.records.iter().for_each(|r| r.encode(out)));
            if let Err(error) = self.segment.append(&out) {
                batch.answers.into_iter().for_each(|answer| answer.fail(&error));
                return Err(error);
            }
            self.log_bytes += out.len() as u64;
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            let mut index = self.shared.index.write();
            for record in batch.records.drain(..) {
                super::apply(&mut index, record);
            }
        }
        batch.answers.into_iter().for_each(Answer::send);
        self.truncate_log()
    }

    fn judge(&self, jobs: Vec<Job>) -> Batch {
        let index = self.shared.index.read();
        let mut batch = Batch {
            revision: index.revision(),
            last_lease: index.leases.last_id().0,
            records: Vec::new(),
            changed: HashMap::new(),
            ended: HashSet::new(),
            answers: Vec::new(),
        };
        let now_unix_ms = now_unix_ms();
        for (id, keys) in index.leases.expired(now_unix_ms) {
            let ops = keys.into_iter().map(|key| Op::Delete { key }).collect();
            batch.commit(&index, ops);
            batch.records.push(Record::LeaseEnd { id });
            batch.ended.insert(id);
        }
        for job in jobs {
            match job {
                Job::Txn(txn, reply) => {
                    let outcome = batch.judge(&index, txn);
                    batch.answers.push(Answer::Txn(reply, outcome));
                }
                Job::Lease(ttl, reply) => {
                    batch.last_lease += 1;
                    let id = LeaseId(batch.last_lease);
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    let expires_unix_ms = now_unix_ms.saturating_add(ttl_ms);
                    batch.records.push(Record::Lease { id, expires_unix_ms });
                    batch.answers.push(Answer::Lease(reply, id));
                }
            }
        }
        batch
    }

    /// Once the log has outgrown what it describes: begins a new segment, and has everything alive written
    /// beside the writes that follow.
    fn truncate_log(&mut self) -> Result<()> {
        if let Some(snapshot) = self.snapshot.take_if(|snapshot| snapshot.is_finished()) {
            finish_snapshot(snapshot);
        }
        if self.snapshot.is_some() || self.log_bytes < self.options.log_bytes {
            return Ok(());
        }
        let snapshot = Snapshot::of(&self.shared.index.read());
        self.segment = Segment::create(&self.folder, self.shared.index.read().revision())?;
        self.log_bytes = 0;
        let folder = self.folder.clone();
        let write = move || snapshot.write(&folder);
        let thread = std::thread::Builder::new().name("store-snapshot".to_owned()).spawn(write);
        self.snapshot = Some(thread.map_err(Error::io("start the snapshot's thread"))?);
        Ok(())
    }
}

impl Batch {
    fn judge(&mut self, index: &Index, txn: Txn) -> Result<TxnOutcome> {
        let holds = txn.compare.iter().all(|compare| {
            let current = self.current(index, &compare.key).map(|kv| kv.mod_revision);
            match compare.expect {
                Expect::Absent => current.is_none(),
                Expect::Revision(revision) => current == Some(revision),
            }
        });
        if !holds {
            let keys = txn.compare.iter();
            let current = keys.map(|compare| self.current(index, &compare.key)).collect();
            return Ok(TxnOutcome::Conflict(current));
        }
        for op in &txn.ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && (!index.leases.contains(*lease) || self.ended.contains(lease))
            {
                return Err(Error::NoSuchLease(lease.0));
            }
        }
        self.commit(index, txn.ops);
        Ok(TxnOutcome::Committed(self.revision))
    }

    fn current(&self, index: &Index, key: &Bytes) -> Option<KeyValue> {
        self.changed.get(key).cloned().unwrap_or_else(|| index.get(key))
    }

    /// Takes the changes in at the next revision; deletions of what is not there fall away.
    fn commit(&mut self, index: &Index, mut ops: Vec<Op>) {
        ops.retain(|op| matches!(op, Op::Put { .. }) || self.current(index, op.key()).is_some());
        if ops.is_empty() {
            return;
        }
        self.revision = self.revision.next();
        for op in &ops {
            let after = match op {
                Op::Delete { .. } => None,
                Op::Put { key, value, lease } => {
                    let before = self.current(index, key);
                    Some(KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: before
                            .as_ref()
                            .map_or(self.revision, |kv| kv.create_revision),
                        mod_revision: self.revision,
                        version: before.map_or(0, |kv| kv.version) + 1,
                        lease: *lease,
                    })
                }
            };
            self.changed.insert(op.key().clone(), after);
        }
        self.records.push(Record::Txn { revision: self.revision, ops });
    }
}

impl Answer {
    // A caller that has gone away needs no answer.
    fn send(self) {
        match self {
            Self::Txn(reply, outcome) => drop(reply.send(outcome)),
            Self::Lease(reply, id) => drop(reply.send(Ok(id))),
        }
    }

    fn fail(self, error: &Error) {
        match self {
            Self::Txn(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Lease(reply, _) => drop(reply.send(Err(error.clone()))),
        }
    }
}

fn finish_snapshot(snapshot: JoinHandle<Result<()>>) {
    match snapshot.join() {
        Ok(Ok(())) => {}
        // The log still has everything: the next one may succeed.
        Ok(Err(error)) => tracing::error!(%error, "no snapshot was written; the log is kept"),
        Err(_) => tracing::error!("the snapshot's thread panicked; the log is kept"),
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
