//! What is true now: every key once, in order, beside the history and the watchers. It changes only by
//! [`Index::apply`], which is the same for a fresh write and for the log being read back.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::history::History;
use super::leases::Leases;
use crate::{
    Error, Event, KeyValue, Op, Range, RangeResult, Result, Revision, WatchBatch, WatchStream,
};

#[derive(Debug)]
struct Entry {
    value: Bytes,
    create_revision: Revision,
    mod_revision: Revision,
    version: u64,
    lease: Option<crate::LeaseId>,
}

impl Entry {
    fn key_value(&self, key: &Bytes) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

#[derive(Debug)]
struct Watcher {
    range: Range,
    sender: mpsc::Sender<Arc<WatchBatch>>,
}

/// The live state of an embedded store.
#[derive(Debug)]
pub(super) struct Index {
    revision: Revision,
    entries: BTreeMap<Bytes, Entry>,
    pub(super) leases: Leases,
    history: History,
    watchers: Vec<Watcher>,
}

impl Index {
    pub(super) fn new(history_bytes: usize) -> Self {
        Self {
            revision: Revision::FIRST,
            entries: BTreeMap::new(),
            leases: Leases::default(),
            history: History::new(Revision::FIRST, history_bytes),
            watchers: Vec::new(),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.entries.get_key_value(key).map(|(key, entry)| entry.key_value(key))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = KeyValue> {
        self.entries.iter().map(|(key, entry)| entry.key_value(key))
    }

    /// Puts back a key that a snapshot kept.
    pub(super) fn restore(&mut self, kv: KeyValue) {
        if let Some(lease) = kv.lease {
            self.leases.attach(lease, kv.key.clone());
        }
        let KeyValue { key, value, create_revision, mod_revision, version, lease } = kv;
        self.entries.insert(key, Entry { value, create_revision, mod_revision, version, lease });
    }

    /// Says that everything restored is as of `revision`, and that nothing older is known.
    pub(super) fn restored(&mut self, revision: Revision) {
        self.revision = revision;
        self.history.compact(revision);
    }

    /// Makes the changes of one revision and tells every watcher.
    pub(super) fn apply(&mut self, revision: Revision, ops: &[Op]) {
        let events: Vec<Event> = ops.iter().filter_map(|op| self.apply_op(revision, op)).collect();
        self.revision = revision;
        let batch = Arc::new(WatchBatch { revision, events });
        self.history.push(batch.clone());
        self.watchers.retain(|watcher| match filtered(&batch, &watcher.range) {
            Some(batch) => watcher.sender.try_send(batch).is_ok(),
            None => !watcher.sender.is_closed(),
        });
    }

    fn apply_op(&mut self, revision: Revision, op: &Op) -> Option<Event> {
        let previous = self.get(op.key());
        if let Some(lease) = previous.as_ref().and_then(|kv| kv.lease) {
            self.leases.detach(lease, op.key());
        }
        match op {
            Op::Put { key, value, lease } => {
                let key = previous.as_ref().map_or(key, |kv| &kv.key).clone();
                if let Some(lease) = lease {
                    self.leases.attach(*lease, key.clone());
                }
                let entry = Entry {
                    value: value.clone(),
                    create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: previous.as_ref().map_or(0, |kv| kv.version) + 1,
                    lease: *lease,
                };
                let current = Some(entry.key_value(&key));
                self.entries.insert(key.clone(), entry);
                Some(Event { key, current, previous })
            }
            Op::Delete { key } => {
                self.entries.remove(key)?;
                Some(Event { key: key.clone(), current: None, previous })
            }
        }
    }

    /// A run of keys, now or as of a revision that the history still reaches.
    pub(super) fn range(&self, range: &Range) -> Result<RangeResult> {
        let revision = range.revision.unwrap_or(self.revision);
        self.check_reachable(revision)?;
        let overlay = self.as_of(revision, range);
        let bounds = (Bound::Included(&range.start[..]), Bound::Excluded(&range.end[..]));
        let live = (range.start < range.end).then(|| self.entries.range::<[u8], _>(bounds));
        let live = live.into_iter().flatten();
        let limit = range.limit.unwrap_or(usize::MAX);
        if overlay.is_empty() {
            let mut live = live;
            let kvs = live.by_ref().take(limit).map(|(key, entry)| entry.key_value(key)).collect();
            return Ok(RangeResult { kvs, remaining: live.count(), revision });
        }
        let unchanged = live.filter(|(key, _)| !overlay.contains_key(*key));
        let mut kvs: Vec<KeyValue> = unchanged.map(|(key, entry)| entry.key_value(key)).collect();
        kvs.extend(overlay.into_values().flatten());
        kvs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let remaining = kvs.len().saturating_sub(limit);
        kvs.truncate(limit);
        Ok(RangeResult { kvs, remaining, revision })
    }

    /// The keys of `range` that have changed since `revision`, as they were then.
    fn as_of(&self, revision: Revision, range: &Range) -> HashMap<Bytes, Option<KeyValue>> {
        let mut then = HashMap::new();
        for batch in self.history.after(revision).rev() {
            for event in batch.events.iter().filter(|event| range.contains(&event.key)) {
                then.insert(event.key.clone(), event.previous.clone());
            }
        }
        then
    }

    pub(super) fn watch(&mut self, range: Range, buffer: usize) -> Result<WatchStream> {
        let from = range.revision.unwrap_or(self.revision);
        if from < self.history.compacted() {
            return Err(self.compacted_error(from));
        }
        let replay = self.history.after(from).filter_map(|batch| filtered(batch, &range)).collect();
        let (sender, receiver) = mpsc::channel(buffer);
        self.watchers.push(Watcher { range, sender });
        Ok(WatchStream::new(from, replay, receiver))
    }

    /// Tells every watcher how far it is.
    pub(super) fn progress(&mut self) {
        let batch = Arc::new(WatchBatch { revision: self.revision, events: Vec::new() });
        self.watchers.retain(|watcher| watcher.sender.try_send(batch.clone()).is_ok());
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<()> {
        self.check_reachable(revision)?;
        self.history.compact(revision);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.watchers.clear();
    }

    fn check_reachable(&self, revision: Revision) -> Result<()> {
        if revision > self.revision {
            return Err(Error::Future { asked: revision, current: self.revision });
        }
        if revision < self.history.compacted() {
            return Err(self.compacted_error(revision));
        }
        Ok(())
    }

    fn compacted_error(&self, asked: Revision) -> Error {
        Error::Compacted { asked, oldest: self.history.compacted() }
    }
}

/// What of `batch` lies in `range`; the batch itself when all of it does.
fn filtered(batch: &Arc<WatchBatch>, range: &Range) -> Option<Arc<WatchBatch>> {
    let inside = batch.events.iter().filter(|event| range.contains(&event.key)).count();
    match inside {
        0 => None,
        all if all == batch.events.len() => Some(batch.clone()),
        _ => {
            let events = batch.events.iter().filter(|event| range.contains(&event.key));
            let events = events.cloned().collect();
            Some(Arc::new(WatchBatch { revision: batch.revision, events }))
        }
    }
}
