//! Compare-and-write: the only way to change a store.

use bytes::Bytes;

use crate::{KeyValue, LeaseId, Revision};

/// What a [`Txn`] demands of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and was last put at this revision.
    Revision(Revision),
}

/// One demand of a transaction.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The key looked at.
    pub key: Bytes,
    /// What must be true of it.
    pub expect: Expect,
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// The lease to live under, if any.
        lease: Option<LeaseId>,
    },
    /// Removes a key; without effect when it is not there.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Op {
    /// The key that the change is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Changes that happen all at once at one revision if every comparison holds, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// What must hold.
    pub compare: Vec<Compare>,
    /// What then happens; each key at most once.
    pub ops: Vec<Op>,
}

impl Txn {
    /// Puts a key that must not exist.
    #[must_use]
    pub fn create(key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Self {
        Self::default().expecting(key.clone(), Expect::Absent).put(key, value, lease)
    }

    /// Puts a key that was last put at `revision`.
    #[must_use]
    pub fn update(key: Bytes, revision: Revision, value: Bytes, lease: Option<LeaseId>) -> Self {
        Self::default().expecting(key.clone(), Expect::Revision(revision)).put(key, value, lease)
    }

    /// Deletes a key that was last put at `revision`.
    #[must_use]
    pub fn delete(key: Bytes, revision: Revision) -> Self {
        Self {
            compare: vec![Compare { key: key.clone(), expect: Expect::Revision(revision) }],
            ops: vec![Op::Delete { key }],
        }
    }

    /// Adds a comparison.
    #[must_use]
    pub fn expecting(mut self, key: Bytes, expect: Expect) -> Self {
        self.compare.push(Compare { key, expect });
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: Bytes, value: Bytes, lease: Option<LeaseId>) -> Self {
        self.ops.push(Op::Put { key, value, lease });
        self
    }
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Everything was written, and is on disk, at this revision. A transaction that changes nothing
    /// answers the revision it found.
    Committed(Revision),
    /// A comparison failed and nothing was written: the compared keys as they are, in order.
    Conflict(Vec<Option<KeyValue>>),
}
