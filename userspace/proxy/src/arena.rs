//! Runs of slots out of one flat array: a buddy allocator.
//!
//! It knows numbers only. A freed run is handed out again after a grace period, because a program may
//! for an instant still hold the entry that pointed to it; time is what the caller passes in.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// A packet is through a program in microseconds; one second is beyond any doubt.
const GRACE: Duration = Duration::from_secs(1);

/// Consecutive slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// The first slot.
    pub base: u32,
    /// How many; at least 1.
    pub count: u32,
}

impl Run {
    /// Blocks are powers of two, aligned to their size.
    fn order(self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }
}

/// The allocator.
#[derive(Debug)]
pub struct Arena {
    capacity: u32,
    /// Free blocks by order, lowest first.
    free: Vec<BTreeSet<u32>>,
    retired: VecDeque<(Instant, Run)>,
    used: u32,
}

impl Arena {
    /// All of `capacity` slots are free.
    pub fn new(capacity: u32) -> Self {
        let mut free = vec![BTreeSet::new(); 32];
        let mut base = 0;
        for order in (0..31).rev() {
            let size = 1 << order;
            if capacity & size != 0 {
                free[order as usize].insert(base);
                base += size;
            }
        }
        // A capacity of 2^31 or more is one block of 2^31; no array of slots is larger.
        if capacity >> 31 != 0 {
            free[31].insert(0);
        }
        Self { capacity, free, retired: VecDeque::new(), used: 0 }
    }

    /// Slots in blocks that are handed out or wait for their grace period to end.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Slots in all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Hands out a run of `count` slots; `None` if no block is large enough, even after taking back
    /// what was retired long enough ago.
    pub fn allocate(&mut self, count: u32, now: Instant) -> Option<Run> {
        let run = Run { base: 0, count };
        let order = run.order();
        self.reclaim(now);
        let found = (order..32).find_map(|o| Some((o, *self.free[o as usize].first()?)));
        let (mut at, base) = found?;
        self.free[at as usize].remove(&base);
        while at > order {
            at -= 1;
            self.free[at as usize].insert(base + (1 << at));
        }
        self.used += 1 << order;
        Some(Run { base, count })
    }

    /// Marks a run that is already in use (found in the kernel after a restart). `false`: it is not
    /// one that this allocator could have handed out, or overlaps another.
    pub fn reserve(&mut self, run: Run) -> bool {
        if run.count == 0 || run.base & ((1 << run.order()) - 1) != 0 {
            return false;
        }
        let order = run.order();
        let enclosing = |o: u32| (o, run.base & !((1 << o) - 1));
        let Some((mut at, mut base)) =
            (order..32).map(enclosing).find(|&(o, base)| self.free[o as usize].contains(&base))
        else {
            return false;
        };
        self.free[at as usize].remove(&base);
        while at > order {
            at -= 1;
            let upper = base + (1 << at);
            let (keep, give) = if run.base >= upper { (upper, base) } else { (base, upper) };
            self.free[at as usize].insert(give);
            base = keep;
        }
        self.used += 1 << order;
        true
    }

    /// Takes a run back. It is free for others once the grace period is over.
    pub fn retire(&mut self, run: Run, now: Instant) {
        self.retired.push_back((now, run));
    }

    fn reclaim(&mut self, now: Instant) {
        while let Some(&(since, run)) = self.retired.front() {
            if now.saturating_duration_since(since) < GRACE {
                break;
            }
            self.retired.pop_front();
            self.release(run);
        }
    }

    fn release(&mut self, run: Run) {
        let (mut order, mut base) = (run.order(), run.base);
        self.used -= 1 << order;
        while order < 31 && self.free[order as usize].remove(&(base ^ (1 << order))) {
            base &= !(1 << order);
            order += 1;
        }
        self.free[order as usize].insert(base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_do_not_overlap_and_stay_inside() {
        let mut arena = Arena::new(1000);
        let now = Instant::now();
        let mut taken = vec![false; 1000];
        let mut runs = Vec::new();
        for count in [1, 251, 1, 100, 251, 3, 60, 1].iter().cycle() {
            let Some(run) = arena.allocate(*count, now) else { break };
            for slot in run.base..run.base + run.count {
                assert!(!std::mem::replace(&mut taken[slot as usize], true), "{run:?} overlaps");
            }
            runs.push(run);
        }
        assert!(runs.len() >= 8, "{runs:?}");
        for run in runs {
            arena.retire(run, now);
        }
        assert!(arena.allocate(512, now).is_none(), "still in grace");
        assert!(arena.allocate(512, now + GRACE).is_some(), "all came back and was joined");
        assert_eq!(arena.used(), 512);
    }

    #[test]
    fn reserved_runs_are_not_handed_out() {
        let mut arena = Arena::new(1024);
        assert!(arena.reserve(Run { base: 256, count: 251 }));
        assert!(!arena.reserve(Run { base: 256, count: 1 }), "overlaps");
        assert!(!arena.reserve(Run { base: 3, count: 2 }), "not aligned");
        assert!(!arena.reserve(Run { base: 2048, count: 1 }), "outside");
        let now = Instant::now();
        let runs: Vec<_> = std::iter::from_fn(|| arena.allocate(256, now)).collect();
        assert_eq!(runs.iter().map(|run| run.base).collect::<Vec<_>>(), [0, 512, 768]);
    }
}
