//! What a controller has asked for and not yet seen in its cache. Until all of it arrives the cache
//! is older than the controller's own last act, and acting on it would do the same work twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::object::Key;

/// A watch that has said nothing for this long is believed to be behind for another reason.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(300);

/// Open expectations by the key of the controlling object.
#[derive(Default)]
pub struct Expectations {
    open: Mutex<HashMap<Key, Open>>,
}

struct Open {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// The cache shows everything that was asked for (or it was too long ago to wait for).
    pub fn met(&self, owner: &Key) -> bool {
        self.open.lock().get(owner).is_none_or(|open| {
            (open.creations == 0 && open.deletions.is_empty())
                || open.since.elapsed() > GIVEN_UP_AFTER
        })
    }

    /// About to create this many.
    pub fn expect_creations(&self, owner: &Key, count: usize) {
        self.set(owner, count, HashSet::new());
    }

    /// About to delete the objects with these uids.
    pub fn expect_deletions(&self, owner: &Key, uids: impl IntoIterator<Item = String>) {
        self.set(owner, 0, uids.into_iter().collect());
    }

    /// About to create and delete at once.
    pub fn expect(&self, owner: &Key, creations: usize, uids: impl IntoIterator<Item = String>) {
        self.set(owner, creations, uids.into_iter().collect());
    }

    fn set(&self, owner: &Key, creations: usize, deletions: HashSet<String>) {
        let open = Open { creations, deletions, since: Instant::now() };
        self.open.lock().insert(owner.clone(), open);
    }

    /// One creation was seen, or will not happen.
    pub fn created(&self, owner: &Key) {
        self.created_many(owner, 1);
    }

    /// Some creations were seen, or will not happen.
    pub fn created_many(&self, owner: &Key, count: usize) {
        if let Some(open) = self.open.lock().get_mut(owner) {
            open.creations = open.creations.saturating_sub(count);
        }
    }

    /// This deletion was seen, or will not happen.
    pub fn deleted(&self, owner: &Key, uid: &str) {
        if let Some(open) = self.open.lock().get_mut(owner) {
            open.deletions.remove(uid);
        }
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &Key) {
        self.open.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn expectations_are_met_one_by_one_or_given_up() {
        let expectations = Expectations::default();
        let owner = Key::new("ns", "web");
        assert!(expectations.met(&owner), "nothing asked for");

        expectations.expect_creations(&owner, 2);
        expectations.created(&owner);
        assert!(!expectations.met(&owner));
        expectations.created(&owner);
        assert!(expectations.met(&owner));

        expectations.expect_deletions(&owner, ["u1".to_owned()]);
        expectations.deleted(&owner, "someone else's");
        assert!(!expectations.met(&owner));
        expectations.deleted(&owner, "u1");
        assert!(expectations.met(&owner));

        expectations.expect_creations(&owner, 1);
        tokio::time::advance(GIVEN_UP_AFTER + Duration::from_secs(1)).await;
        assert!(expectations.met(&owner));
    }
}
