//! How much the kernel's tables can hold. Numbers only.

use crate::frontend::Family;

/// A table that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Entries that it has now.
    pub size: u32,
    /// Entries that it may have.
    pub limit: u32,
}

/// How much larger a table is made at once for what is only expected.
const MOST_AHEAD: u32 = 4;

impl Room {
    /// Makes it hold `wanted` entries, and half as many more as it has: to grow is to wait for all
    /// programs that run. Whether the limit allows it.
    pub(crate) fn grow(&mut self, wanted: u32, chunk: u32) -> bool {
        let ahead = self.size.saturating_add(self.size / 2);
        let least = wanted.checked_next_multiple_of(chunk).filter(|size| *size <= self.limit);
        let Some(least) = least else { return false };
        self.size = least.max(ahead.next_multiple_of(chunk)).min(self.limit / chunk * chunk);
        true
    }

    /// How large a table of which so many entries are taken should be for so many more to come, as far as
    /// that is sure to be worth it.
    pub(crate) fn expected(&self, taken: u32, more: u64) -> u32 {
        let expected = u32::try_from(u64::from(taken).saturating_add(more)).unwrap_or(u32::MAX);
        expected.min(self.size.saturating_mul(MOST_AHEAD)).min(self.limit)
    }
}

/// How much the tables can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Of `slots`.
    pub slots: Room,
    /// Of `backends`, by family.
    pub backends: [Room; 2],
    /// Of `services`, by family.
    pub services: [u32; 2],
    /// Of `ranges`, by family.
    pub ranges: [u32; 2],
}

impl Capacity {
    /// The same, but no table grows.
    pub fn without_growth(mut self) -> Self {
        for room in self.backends.iter_mut().chain([&mut self.slots]) {
            room.limit = room.size;
        }
        self
    }
}

/// How large the tables that grow must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Of `slots`.
    pub slots: u32,
    /// Of `backends`, by family.
    pub backends: [u32; 2],
}

/// Entries of a table of both families that are there or on their way.
#[derive(Debug)]
pub(crate) struct Occupancy {
    taken: [u32; 2],
    limits: [u32; 2],
}

impl Occupancy {
    /// With these entries in it.
    pub(crate) fn new(limits: [u32; 2], entries: impl Iterator<Item = Family>) -> Self {
        let mut taken = [0; 2];
        entries.for_each(|family| taken[family as usize] += 1);
        Self { taken, limits }
    }

    /// Counts one more entry, if there is room for it.
    pub(crate) fn take(&mut self, family: Family) -> bool {
        let has_room = self.taken[family as usize] < self.limits[family as usize];
        self.taken[family as usize] += u32::from(has_room);
        has_room
    }

    /// An entry is gone, or will be before the next is written.
    pub(crate) fn give_back(&mut self, family: Family) {
        self.taken[family as usize] -= 1;
    }

    /// Entries that are there, and room in all.
    pub(crate) fn of(&self, family: Family) -> (u32, u32) {
        (self.taken[family as usize], self.limits[family as usize])
    }
}
