//! What the control plane asks of a store, with etcd's meaning throughout.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{KeyValue, LeaseId, Result, Revision, Txn, TxnOutcome, WatchStream};

/// The keys from `start` up to, not including, `end`.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// The first key.
    pub start: Bytes,
    /// The first key that is not part of it.
    pub end: Bytes,
    /// At most so many keys; all of them when absent.
    pub limit: Option<usize>,
    /// Read as of this revision; the newest when absent.
    pub revision: Option<Revision>,
}

impl Range {
    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = prefix_end(&start);
        Self { start, end, ..Self::default() }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }
}

/// The first key after every key that begins with `prefix`.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    // No key is this long and this high: the range is open.
    Bytes::from_static(&[u8::MAX; 64])
}

/// What a range read gives.
#[derive(Clone, Debug)]
pub struct RangeResult {
    /// The keys in order.
    pub kvs: Vec<KeyValue>,
    /// The keys in the range after the last one returned.
    pub remaining: usize,
    /// The revision that was read.
    pub revision: Revision,
}

/// A key-value store with one history. All reads are linearizable; what a call has acknowledged is on disk.
pub trait Store: Send + Sync + 'static {
    /// The newest revision.
    fn revision(&self) -> BoxFuture<'_, Result<Revision>>;

    /// One key as it is now.
    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<KeyValue>>>;

    /// A run of keys, at one revision.
    fn range(&self, range: Range) -> BoxFuture<'_, Result<RangeResult>>;

    /// Compares and writes, at once or not at all.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome>>;

    /// Every change in `range` (its limit is ignored) after its revision, or from now on when it has none.
    fn watch(&self, range: Range) -> BoxFuture<'_, Result<WatchStream>>;

    /// Sends every watch a batch without events, at the newest revision.
    fn progress(&self) -> BoxFuture<'_, Result<()>>;

    /// Forgets the history up to and including `revision`; what is alive stays.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>>;

    /// A new lease that runs out after `ttl`, and then deletes every key that was put under it.
    fn lease(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_next_sibling() {
        assert_eq!(prefix_end(b"/a/"), Bytes::from_static(b"/a0"));
        assert_eq!(prefix_end(b"a\xff\xff"), Bytes::from_static(b"b"));
        let pods = Range::prefix("/registry/pods/");
        assert!(pods.contains(b"/registry/pods/default/a"));
        assert!(!pods.contains(b"/registry/podtemplates/default/a"));
    }
}
