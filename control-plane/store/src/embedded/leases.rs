//! Which keys live under which lease, and when each lease runs out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::LeaseId;

#[derive(Debug)]
struct Lease {
    expires_unix_ms: u64,
    keys: BTreeSet<Bytes>,
}

/// All leases of a store. Times are the wall clock's: a lease runs on while the store is down.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
    last_id: u64,
}

impl Leases {
    /// The newest lease granted: ids are never used twice.
    pub(super) fn last_id(&self) -> LeaseId {
        LeaseId(self.last_id)
    }

    pub(super) fn grant(&mut self, id: LeaseId, expires_unix_ms: u64) {
        self.last_id = self.last_id.max(id.0);
        self.by_id.insert(id, Lease { expires_unix_ms, keys: BTreeSet::new() });
    }

    pub(super) fn contains(&self, id: LeaseId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn end(&mut self, id: LeaseId) {
        self.by_id.remove(&id);
    }

    pub(super) fn attach(&mut self, id: LeaseId, key: Bytes) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.insert(key);
        }
    }

    pub(super) fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// When the next lease runs out.
    pub(super) fn next_expiry_unix_ms(&self) -> Option<u64> {
        self.by_id.values().map(|lease| lease.expires_unix_ms).min()
    }

    /// The leases that have run out, each with its keys.
    pub(super) fn expired(&self, now_unix_ms: u64) -> Vec<(LeaseId, Vec<Bytes>)> {
        let expired = self.by_id.iter().filter(|(_, lease)| lease.expires_unix_ms <= now_unix_ms);
        expired.map(|(&id, lease)| (id, lease.keys.iter().cloned().collect())).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, u64)> {
        self.by_id.iter().map(|(&id, lease)| (id, lease.expires_unix_ms))
    }
}
