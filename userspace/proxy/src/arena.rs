//! Runs of slots out of one flat array that grows: a buddy allocator.
//!
//! It knows numbers only. A freed run is handed out again after a grace period, because a program may
//! for an instant still hold the entry that pointed to it; time is what the caller passes in.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use skep_abi::SLOTS_PER_CHUNK;

use crate::room::Room;

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
    room: Room,
    /// Free blocks by order, lowest first.
    free: Vec<BTreeSet<u32>>,
    retired: VecDeque<(Instant, Run)>,
    used: u32,
}

impl Arena {
    /// All slots are free. An array that grows has whole chunks.
    pub fn new(room: Room) -> Self {
        let mut free = vec![BTreeSet::new(); 32];
        let mut base = 0;
        for order in (0..31).rev() {
            let size = 1 << order;
            if room.size & size != 0 {
                free[order as usize].insert(base);
                base += size;
            }
        }
        // A size of 2^31 or more is one block of 2^31; no array of slots is larger.
        if room.size >> 31 != 0 {
            free[31].insert(0);
        }
        Self { room, free, retired: VecDeque::new(), used: 0 }
    }

    /// Slots in blocks that are handed out or wait for their grace period to end.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Slots in all: those that the array must have now, and those that it may have.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The array may have so many slots from now on, or as many as it has already.
    pub fn set_limit(&mut self, limit: u32) {
        self.room.limit = limit.max(self.room.size);
    }

    /// Hands out a run of `count` slots, from a larger array if it must; `None` if no block is large
    /// enough, even after taking back what was retired long enough ago, and the limit is reached.
    pub fn allocate(&mut self, count: u32, now: Instant) -> Option<Run> {
        let run = Run { base: 0, count };
        let order = run.order();
        self.reclaim(now);
        let (mut at, base) = self.find(order).or_else(|| self.grow(order))?;
        self.free[at as usize].remove(&base);
        while at > order {
            at -= 1;
            self.free[at as usize].insert(base + (1 << at));
        }
        self.used += 1 << order;
        Some(Run { base, count })
    }

    /// The smallest free block of this order at least, and of these the first.
    fn find(&self, order: u32) -> Option<(u32, u32)> {
        (order..32).find_map(|o| Some((o, *self.free[o as usize].first()?)))
    }

    /// Makes the array large enough for so many more slots in use, as far as the limit allows.
    pub fn expect(&mut self, more: u64) {
        let wanted = self.room.expected(self.used, more);
        if wanted > self.room.size {
            self.enlarge(wanted);
        }
    }

    /// Makes the array so large that there is a free block of this order, and finds it.
    fn grow(&mut self, order: u32) -> Option<(u32, u32)> {
        let block = 1_u32.checked_shl(order)?;
        // The first aligned block beyond the end.
        let wanted = self.room.size.checked_next_multiple_of(block)?.checked_add(block)?;
        if self.enlarge(wanted) { self.find(order) } else { None }
    }

    /// Makes the array hold so many slots at least, the new ones free; whether the limit allows it.
    fn enlarge(&mut self, wanted: u32) -> bool {
        let end = self.room.size;
        let is_allowed = self.room.grow(wanted, SLOTS_PER_CHUNK);
        for base in (end..self.room.size).step_by(SLOTS_PER_CHUNK as usize) {
            self.insert(base, SLOTS_PER_CHUNK.trailing_zeros());
        }
        is_allowed
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
        self.used -= 1 << run.order();
        self.insert(run.base, run.order());
    }

    /// Makes a block free, joined with its free neighbours.
    fn insert(&mut self, mut base: u32, mut order: u32) {
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
        let mut arena = Arena::new(Room { size: 1000, limit: 1000 });
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
        let mut arena = Arena::new(Room { size: 1024, limit: 1024 });
        assert!(arena.reserve(Run { base: 256, count: 251 }));
        assert!(!arena.reserve(Run { base: 256, count: 1 }), "overlaps");
        assert!(!arena.reserve(Run { base: 3, count: 2 }), "not aligned");
        assert!(!arena.reserve(Run { base: 2048, count: 1 }), "outside");
        let now = Instant::now();
        let runs: Vec<_> = std::iter::from_fn(|| arena.allocate(256, now)).collect();
        assert_eq!(runs.iter().map(|run| run.base).collect::<Vec<_>>(), [0, 512, 768]);
    }

    #[test]
    fn what_finds_no_room_makes_the_array_larger_up_to_its_limit() {
        let chunk = SLOTS_PER_CHUNK;
        let mut arena = Arena::new(Room { size: chunk, limit: 8 * chunk });
        let now = Instant::now();
        let small = arena.allocate(251, now).expect("room");
        assert_eq!((small.base, arena.room().size), (0, chunk));
        let large = arena.allocate(chunk, now).expect("a second chunk");
        assert_eq!((large.base, arena.room().size), (chunk, 2 * chunk));
        // Four chunks that lie aligned.
        let huge = arena.allocate(4 * chunk - 5, now).expect("chunks enough");
        assert_eq!((huge.base, arena.room().size), (4 * chunk, 8 * chunk));
        assert_eq!(arena.allocate(2 * chunk, now).expect("between").base, 2 * chunk);
        assert_eq!(arena.allocate(chunk, now), None, "the limit is reached");
        assert_eq!(arena.room().size, 8 * chunk);
        assert!(arena.allocate(251, now).is_some(), "the first chunk is not full");

        arena.set_limit(64 * chunk);
        let last = arena.allocate(chunk, now).expect("one more");
        assert_eq!(last.base, 8 * chunk);
        assert_eq!(arena.room().size, 12 * chunk, "half as many more, for those to come");
    }

    #[test]
    fn nothing_is_added_for_what_does_not_fit_anyway() {
        let chunk = SLOTS_PER_CHUNK;
        let mut arena = Arena::new(Room { size: chunk, limit: 3 * chunk });
        assert_eq!(arena.allocate(4 * chunk, Instant::now()), None);
        assert_eq!(arena.room().size, chunk);
    }

    #[test]
    fn room_that_retired_is_used_before_the_array_grows() {
        let chunk = SLOTS_PER_CHUNK;
        let mut arena = Arena::new(Room { size: chunk, limit: 2 * chunk });
        let now = Instant::now();
        let run = arena.allocate(chunk, now).expect("room");
        arena.retire(run, now);
        assert_eq!(arena.allocate(chunk, now + GRACE), Some(run));
        assert_eq!(arena.room().size, chunk);
    }
}
