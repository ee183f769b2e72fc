//! A work queue of keys: a key waits at most once, is never worked on twice at the same time, and
//! comes back later after a failure, each time twice as late.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(1000);

/// A shared handle on the queue.
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Waiting, or changed while being worked on.
    dirty: HashSet<T>,
    working: HashSet<T>,
    later: BinaryHeap<Reverse<(Instant, u64)>>,
    later_keys: HashMap<u64, T>,
    /// The earliest time each key is already asked for.
    later_at: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    tickets: u64,
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            later: BinaryHeap::new(),
            later_keys: HashMap::new(),
            later_at: HashMap::new(),
            failures: HashMap::new(),
            tickets: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }) }
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// Asks for work on a key as soon as possible.
    pub fn add(&self, key: T) {
        if self.shared.state.lock().add(key) {
            self.shared.wake.notify_one();
        }
    }

    /// Asks for work on a key after a while; the earliest of several askings counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.shared.state.lock().add_at(key, Instant::now() + delay);
        self.shared.wake.notify_one();
    }

    /// Asks for work on a key that has failed, after its back-off.
    pub fn retry(&self, key: T) {
        let mut state = self.shared.state.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        let delay = FIRST_RETRY.saturating_mul(1 << (*failures).min(20)).min(LAST_RETRY);
        *failures += 1;
        state.add_at(key, Instant::now() + delay);
        drop(state);
        self.shared.wake.notify_one();
    }

    /// The next failure of this key is its first again.
    pub fn forget(&self, key: &T) {
        self.shared.state.lock().failures.remove(key);
    }

    /// How often this key failed since it was last forgotten.
    pub fn failures(&self, key: &T) -> u32 {
        self.shared.state.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// Waits for a key to work on. Dropping what is handed out says that the work is over.
    pub async fn next(&self) -> Leased<T> {
        loop {
            let wake_at = {
                let mut state = self.shared.state.lock();
                let wake_at = state.move_due(Instant::now());
                if let Some(key) = state.waiting.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    if !state.waiting.is_empty() {
                        self.shared.wake.notify_one();
                    }
                    return Leased { key, queue: self.clone() };
                }
                wake_at
            };
            match wake_at {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.shared.wake.notified()).await;
                }
                None => self.shared.wake.notified().await,
            }
        }
    }

    /// How many keys wait to be worked on now.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    /// True when a worker should look.
    fn add(&mut self, key: T) -> bool {
        if !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return false;
        }
        self.waiting.push_back(key);
        true
    }

    fn add_at(&mut self, key: T, at: Instant) {
        if let Some((known, ticket)) = self.later_at.get(&key) {
            if *known <= at {
                return;
            }
            self.later_keys.remove(ticket);
        }
        self.tickets += 1;
        self.later.push(Reverse((at, self.tickets)));
        self.later_keys.insert(self.tickets, key.clone());
        self.later_at.insert(key, (at, self.tickets));
    }

    /// Moves what is due to the waiting keys; answers when the next one will be.
    fn move_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, ticket))) = self.later.peek().copied() {
            if at > now {
                return Some(at);
            }
            self.later.pop();
            if let Some(key) = self.later_keys.remove(&ticket) {
                self.later_at.remove(&key);
                self.add(key);
            }
        }
        None
    }
}

/// A key that one worker works on.
pub struct Leased<T: Clone + Eq + Hash> {
    key: T,
    queue: Queue<T>,
}

impl<T: Clone + Eq + Hash> Leased<T> {
    /// The key.
    pub fn key(&self) -> &T {
        &self.key
    }
}

impl<T: Clone + Eq + Hash> Drop for Leased<T> {
    fn drop(&mut self) {
        let mut state = self.queue.shared.state.lock();
        state.working.remove(&self.key);
        if state.dirty.contains(&self.key) {
            state.waiting.push_back(self.key.clone());
            self.queue.shared.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_key_waits_once() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!(*queue.next().await.key(), "a");
        assert_eq!(*queue.next().await.key(), "b");
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test]
    async fn a_key_is_never_worked_on_twice_at_once() {
        let queue = Queue::default();
        queue.add("a");
        let first = queue.next().await;
        queue.add("a");
        assert!(queue.next().now_or_never().is_none());
        drop(first);
        assert_eq!(*queue.next().await.key(), "a");
        assert!(queue.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_asking_counts() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("a", Duration::from_secs(30));
        drop(queue.next().await);
        assert_eq!(start.elapsed().as_secs(), 5);
        assert!(
            tokio::time::timeout(Duration::from_secs(300), queue.next()).await.is_err(),
            "asked for once, handed out once"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_doubles_the_wait() {
        let queue = Queue::default();
        for expected in [5, 10, 20, 40] {
            let start = Instant::now();
            queue.retry("a");
            drop(queue.next().await);
            assert_eq!(start.elapsed().as_millis(), expected);
        }
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }
}
