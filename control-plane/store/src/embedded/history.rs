//! The last changes, kept so that a watch can resume and a list can go on at the revision it began with.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Event, Revision, WatchBatch};

/// A bounded run of batches, without gap up to the newest revision.
#[derive(Debug)]
pub(super) struct History {
    batches: VecDeque<Arc<WatchBatch>>,
    bytes: usize,
    max_bytes: usize,
    /// The newest revision whose batch is gone: reading *at* it still works, watching *from* it too.
    compacted: Revision,
}

impl History {
    pub(super) fn new(start: Revision, max_bytes: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, max_bytes, compacted: start }
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn push(&mut self, batch: Arc<WatchBatch>) {
        self.bytes += cost(&batch);
        self.batches.push_back(batch);
        while self.bytes > self.max_bytes && self.batches.len() > 1 {
            self.forget_oldest();
        }
    }

    pub(super) fn compact(&mut self, revision: Revision) {
        while self.batches.front().is_some_and(|batch| batch.revision <= revision) {
            self.forget_oldest();
        }
        self.compacted = self.compacted.max(revision);
    }

    /// The batches after `revision`, oldest first.
    pub(super) fn after(
        &self,
        revision: Revision,
    ) -> impl DoubleEndedIterator<Item = &Arc<WatchBatch>> {
        let from = self.batches.partition_point(|batch| batch.revision <= revision);
        self.batches.range(from..)
    }

    fn forget_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= cost(&batch);
            self.compacted = batch.revision;
        }
    }
}

/// Near what a batch keeps in memory: its bytes are shared with the index only while they are current.
fn cost(batch: &WatchBatch) -> usize {
    let event_cost = |event: &Event| {
        let values = [&event.current, &event.previous].into_iter().flatten();
        size_of::<Event>() + event.key.len() + values.map(|kv| kv.value.len()).sum::<usize>()
    };
    batch.events.iter().map(event_cost).sum()
}
