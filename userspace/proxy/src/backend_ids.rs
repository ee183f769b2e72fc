//! Which id each backend address has, for one address family.
//!
//! A backend that no Service names any more is *gone*: its id keeps its meaning for a grace period, so
//! that what is left of its connections is reset instead of being sent to a stranger.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use skep_abi::{BACKENDS_PER_CHUNK, backend_state};

use crate::frontend::BackendState;
use crate::room::Room;

/// How long a gone backend's id keeps its meaning.
const GRACE: Duration = Duration::from_secs(60);

/// A row of the `backends` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendRow {
    /// Its index.
    pub id: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// A number of [`backend_state`].
    pub state: u8,
    /// Whether datagrams may be on their way to it.
    pub datagrams: bool,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    active: u32,
    terminating: u32,
    /// What the table says.
    written: u8,
    datagrams: bool,
    /// How often it stands in the queue of those that are gone.
    queued: u16,
}

impl Entry {
    fn state(&self) -> u8 {
        match (self.active, self.terminating) {
            (0, 0) => backend_state::GONE,
            (0, _) => backend_state::TERMINATING,
            _ => backend_state::READY,
        }
    }
}

/// The ids of one family.
#[derive(Debug)]
pub struct BackendIds {
    entries: BTreeMap<SocketAddr, Entry>,
    touched: BTreeSet<SocketAddr>,
    /// Found at the start, and without a user so far.
    unsettled: Vec<SocketAddr>,
    gone: VecDeque<(Instant, SocketAddr)>,
    /// Taken out, and not free yet.
    leaving: usize,
    free: BTreeSet<u32>,
    next: u32,
    room: Room,
}

impl BackendIds {
    /// All ids but 0 are free; 0 is left out, so that a zeroed value names nobody.
    pub fn new(room: Room) -> Self {
        Self {
            entries: BTreeMap::new(),
            touched: BTreeSet::new(),
            unsettled: Vec::new(),
            gone: VecDeque::new(),
            leaving: 0,
            free: BTreeSet::new(),
            next: 1,
            room,
        }
    }

    /// Takes over rows that are in the table already. Until somebody acquires them they count as
    /// released. Of several rows with one address the first is kept, the others wait as strangers.
    pub fn adopt(&mut self, rows: impl Iterator<Item = BackendRow>) {
        let mut taken = BTreeSet::new();
        for row in rows {
            taken.insert(row.id);
            self.entries.entry(row.address).or_insert(Entry {
                id: row.id,
                active: 0,
                terminating: 0,
                written: row.state,
                datagrams: row.datagrams,
                queued: 0,
            });
            self.touched.insert(row.address);
        }
        self.next = taken.last().map_or(1, |last| last + 1);
        self.free = (1..self.next).filter(|id| !taken.contains(id)).collect();
    }

    /// The rows as written, those in grace included.
    pub fn rows(&self) -> impl Iterator<Item = BackendRow> {
        let written = |(address, entry): (&SocketAddr, &Entry)| BackendRow {
            id: entry.id,
            address: *address,
            state: entry.written,
            datagrams: entry.datagrams,
        };
        self.entries.iter().map(written).filter(|row| row.state != backend_state::UNUSED)
    }

    /// Ids in use, those in grace included.
    pub fn used(&self) -> usize {
        self.entries.len() + self.leaving
    }

    /// Ids in all: those that the table must have now, and those that it may have.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The table may have so many ids from now on, or as many as it has already.
    pub fn set_limit(&mut self, limit: u32) {
        self.room.limit = limit.max(self.room.size);
    }

    /// Whether a usable backend has this address, whatever its port.
    pub fn serves_on(&self, address: IpAddr) -> bool {
        let ports = SocketAddr::new(address, 0)..=SocketAddr::new(address, u16::MAX);
        self.entries.range(ports).any(|(_, entry)| entry.state() != backend_state::GONE)
    }

    /// The id of a known address.
    pub fn id(&self, address: &SocketAddr) -> Option<u32> {
        self.entries.get(address).map(|entry| entry.id)
    }

    /// Counts one more use and returns the id; `None` when every id is taken.
    pub fn acquire(
        &mut self,
        address: SocketAddr,
        state: BackendState,
        datagrams: bool,
    ) -> Option<u32> {
        if !self.entries.contains_key(&address) {
            let id = self.free_id()?;
            let written = backend_state::UNUSED;
            let entry = Entry { id, active: 0, terminating: 0, written, datagrams, queued: 0 };
            self.entries.insert(address, entry);
        }
        let entry = self.entries.get_mut(&address)?;
        *count(entry, state) += 1;
        entry.datagrams |= datagrams;
        self.touched.insert(address);
        Some(entry.id)
    }

    /// Counts one use less.
    pub fn release(&mut self, address: SocketAddr, state: BackendState) {
        if let Some(entry) = self.entries.get_mut(&address) {
            let count = count(entry, state);
            *count = count.saturating_sub(1);
            self.touched.insert(address);
        }
    }

    /// The rows whose state differs from the table, which the caller must now write: first the
    /// usable ones, then those that are gone; without `settled` these wait, since their users may only
    /// not have been seen yet.
    pub fn take_changed(
        &mut self,
        now: Instant,
        settled: bool,
    ) -> (Vec<BackendRow>, Vec<BackendRow>) {
        let mut usable = Vec::new();
        let mut gone = Vec::new();
        if settled {
            self.touched.extend(self.unsettled.drain(..));
        }
        for address in std::mem::take(&mut self.touched) {
            let Some(entry) = self.entries.get_mut(&address) else { continue };
            let state = entry.state();
            if state == backend_state::GONE && !settled {
                self.unsettled.push(address);
                continue;
            }
            let changed = entry.written != state;
            entry.written = state;
            let datagrams = entry.datagrams;
            let row = BackendRow { id: entry.id, address, state, datagrams };
            if state == backend_state::GONE {
                entry.queued = entry.queued.saturating_add(1);
                self.gone.push_back((now, address));
            }
            match (changed, state == backend_state::GONE) {
                (false, _) => {}
                (true, true) => gone.push(row),
                (true, false) => usable.push(row),
            }
        }
        (usable, gone)
    }

    /// Takes out the backends whose grace period is over. The caller must remove every flow that names
    /// one of these ids, then write the rows, and then hand them to [`BackendIds::free`]; should one of the
    /// addresses come back meanwhile, it gets another id.
    pub fn reclaim(&mut self, now: Instant) -> Vec<BackendRow> {
        let mut rows = Vec::new();
        while let Some(&(since, address)) = self.gone.front() {
            if now.saturating_duration_since(since) < GRACE {
                break;
            }
            self.gone.pop_front();
            let Some(entry) = self.entries.get_mut(&address) else { continue };
            entry.queued = entry.queued.saturating_sub(1);
            // It may have come back, and even have gone again, since it was queued.
            if entry.written == backend_state::GONE && entry.queued == 0 {
                let (id, datagrams) = (entry.id, entry.datagrams);
                self.entries.remove(&address);
                self.leaving += 1;
                rows.push(BackendRow { id, address, state: backend_state::UNUSED, datagrams });
            }
        }
        rows
    }

    /// Nothing names these ids any more: they may be given to others.
    pub fn free(&mut self, ids: impl Iterator<Item = u32>) {
        for id in ids {
            self.leaving -= 1;
            self.free.insert(id);
        }
    }

    fn free_id(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        if self.next >= self.room.size {
            let size = self.next.checked_add(1)?.next_multiple_of(BACKENDS_PER_CHUNK);
            if size > self.room.limit {
                return None;
            }
            self.room.size = size;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

fn count(entry: &mut Entry, state: BackendState) -> &mut u32 {
    match state {
        BackendState::Active => &mut entry.active,
        BackendState::Terminating => &mut entry.terminating,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 244, 0, last], 80))
    }

    #[test]
    fn a_gone_backend_keeps_its_id_until_grace_is_over() {
        let mut ids = BackendIds::new(Room { size: 8, limit: 8 });
        let start = Instant::now();
        let id = ids.acquire(address(1), BackendState::Active, false).expect("room");
        let row =
            BackendRow { id, address: address(1), state: backend_state::READY, datagrams: false };
        assert_eq!(ids.take_changed(start, true), (vec![row], vec![]));

        ids.release(address(1), BackendState::Active);
        let gone = BackendRow { state: backend_state::GONE, ..row };
        assert_eq!(ids.take_changed(start, true), (vec![], vec![gone]));
        assert_ne!(ids.acquire(address(2), BackendState::Active, false), Some(id));
        assert_eq!(ids.reclaim(start), []);
        let unused = BackendRow { state: backend_state::UNUSED, ..row };
        assert_eq!(ids.reclaim(start + GRACE), [unused]);
        let back = ids.acquire(address(1), BackendState::Active, false);
        assert_ne!(back, Some(id), "flows that name the old id are not removed yet");
        assert_eq!(ids.used(), 3);
        ids.free([id].into_iter());
        assert_eq!(ids.used(), 2);
        assert_eq!(ids.acquire(address(3), BackendState::Active, false), Some(id));
    }

    #[test]
    fn a_backend_that_comes_back_in_time_is_the_same() {
        let mut ids = BackendIds::new(Room { size: 8, limit: 8 });
        let start = Instant::now();
        let id = ids.acquire(address(1), BackendState::Active, false);
        ids.take_changed(start, true);
        ids.release(address(1), BackendState::Active);
        ids.take_changed(start, true);
        assert_eq!(ids.acquire(address(1), BackendState::Terminating, false), id);
        let (usable, _) = ids.take_changed(start, true);
        assert_eq!(usable[0].state, backend_state::TERMINATING);
        assert_eq!(ids.reclaim(start + GRACE), []);
    }

    #[test]
    fn grace_begins_anew_each_time_that_a_backend_goes() {
        let mut ids = BackendIds::new(Room { size: 8, limit: 8 });
        let start = Instant::now();
        let later = start + GRACE / 2;
        for now in [start, later] {
            ids.acquire(address(1), BackendState::Active, false).expect("room");
            ids.take_changed(now, true);
            ids.release(address(1), BackendState::Active);
            ids.take_changed(now, true);
        }
        assert_eq!(ids.reclaim(start + GRACE), []);
        assert_eq!(ids.reclaim(later + GRACE).len(), 1);
    }

    #[test]
    fn a_full_table_says_so() {
        let mut ids = BackendIds::new(Room { size: 3, limit: 3 });
        assert_eq!(ids.acquire(address(1), BackendState::Active, false), Some(1));
        assert_eq!(ids.acquire(address(2), BackendState::Active, false), Some(2));
        assert_eq!(ids.acquire(address(3), BackendState::Active, false), None);
    }

    #[test]
    fn ids_beyond_the_table_make_it_larger_up_to_its_limit() {
        let mut ids = BackendIds::new(Room { size: 3, limit: BACKENDS_PER_CHUNK });
        for last in 1..=2 {
            ids.acquire(address(last), BackendState::Active, false).expect("room");
        }
        assert_eq!(ids.room().size, 3);
        assert_eq!(ids.acquire(address(3), BackendState::Active, false), Some(3));
        assert_eq!(ids.room().size, BACKENDS_PER_CHUNK);
        ids.set_limit(0);
        assert_eq!(ids.acquire(address(4), BackendState::Active, false), Some(4), "it is there");
    }

    #[test]
    fn adopted_rows_keep_their_ids_and_unclaimed_ones_go() {
        let mut ids = BackendIds::new(Room { size: 8, limit: 8 });
        let row = |id| BackendRow {
            id,
            address: address(id as u8),
            state: backend_state::READY,
            datagrams: false,
        };
        ids.adopt([row(1), row(3)].into_iter());
        assert_eq!(ids.acquire(address(3), BackendState::Active, false), Some(3));
        assert_eq!(ids.acquire(address(9), BackendState::Active, false), Some(2));
        let (usable, gone) = ids.take_changed(Instant::now(), true);
        assert_eq!(usable.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
        assert_eq!(gone.iter().map(|row| row.id).collect::<Vec<_>>(), [1]);
    }
}
