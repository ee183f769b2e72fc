//! Which id each backend address has, for one address family.
//!
//! A backend that no Service names any more is *gone*: its id keeps its meaning for a grace period, so
//! that what is left of its connections is reset instead of being sent to a stranger.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hashbrown::HashTable;
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

/// What one id stands for. A large cluster has a hundred thousand of them: it is small.
#[derive(Debug, Clone)]
struct Entry {
    ip: IpAddr,
    port: u16,
    active: u32,
    terminating: u32,
    /// What the table says.
    written: u8,
    datagrams: bool,
    /// How often it stands in the queue of those that are gone.
    queued: u16,
}

impl Entry {
    fn new(address: SocketAddr, datagrams: bool) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
            active: 0,
            terminating: 0,
            written: backend_state::UNUSED,
            datagrams,
            queued: 0,
        }
    }

    fn state(&self) -> u8 {
        match (self.active, self.terminating) {
            (0, 0) => backend_state::GONE,
            (0, _) => backend_state::TERMINATING,
            _ => backend_state::READY,
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    fn row(&self, id: u32, state: u8) -> BackendRow {
        BackendRow { id, address: self.address(), state, datagrams: self.datagrams }
    }

    fn count(&mut self, state: BackendState) -> &mut u32 {
        match state {
            BackendState::Active => &mut self.active,
            BackendState::Terminating => &mut self.terminating,
        }
    }
}

/// The ids of one family.
#[derive(Debug)]
pub struct BackendIds {
    /// By id; nothing where the id is free, or about to be.
    entries: Vec<Option<Entry>>,
    /// The id of each address that has one.
    index: HashTable<u32>,
    hasher: RandomState,
    touched: BTreeSet<u32>,
    /// Found at the start, and without a user so far.
    unsettled: Vec<u32>,
    gone: VecDeque<(Instant, u32)>,
    free: BTreeSet<u32>,
    used: usize,
    room: Room,
}

impl BackendIds {
    /// All ids but 0 are free; 0 is left out, so that a zeroed value names nobody.
    pub fn new(room: Room) -> Self {
        Self {
            entries: vec![None],
            index: HashTable::new(),
            hasher: RandomState::new(),
            touched: BTreeSet::new(),
            unsettled: Vec::new(),
            gone: VecDeque::new(),
            free: BTreeSet::new(),
            used: 0,
            room,
        }
    }

    /// Takes over rows that are in the table already. Until somebody acquires them they count as
    /// released. Of several rows with one address the first is kept, the others go.
    pub fn adopt(&mut self, rows: impl Iterator<Item = BackendRow>) {
        for row in rows {
            let mut entry = Entry::new(row.address, row.datagrams);
            entry.written = row.state;
            let is_known = self.id(&row.address).is_some();
            let place = row.id as usize;
            if place >= self.entries.len() {
                self.entries.resize(place + 1, None);
            }
            self.entries[place] = Some(entry);
            self.used += 1;
            self.touched.insert(row.id);
            if !is_known {
                self.enter(row.id, &row.address);
            }
        }
        let vacant = (1..).zip(&self.entries[1..]).filter(|(_, entry)| entry.is_none());
        self.free = vacant.map(|(id, _)| id).collect();
    }

    /// The rows as written, those in grace included.
    pub fn rows(&self) -> impl Iterator<Item = BackendRow> {
        let entries = (0..).zip(&self.entries);
        let rows = entries.filter_map(|(id, entry)| {
            let entry = entry.as_ref()?;
            Some(entry.row(id, entry.written))
        });
        rows.filter(|row| row.state != backend_state::UNUSED)
    }

    /// Ids in use, those in grace included.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Ids in all: those that the table must have now, and those that it may have.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The table may have so many ids from now on, or as many as it has already.
    pub fn set_limit(&mut self, limit: u32) {
        self.room.limit = limit.max(self.room.size);
    }

    /// Makes the table large enough for so many more ids in use, as far as the limit allows.
    pub fn expect(&mut self, more: u64) {
        // No more are used than there may be, which is a u32.
        let wanted = self.room.expected(self.used as u32, more);
        if wanted > self.room.size {
            self.room.grow(wanted, BACKENDS_PER_CHUNK);
        }
    }

    /// Whether a usable backend has one of these addresses, whatever its port. Looks at all backends.
    pub fn serve_on(&self, addresses: &[IpAddr]) -> bool {
        let usable = self.entries.iter().flatten().filter(|e| e.state() != backend_state::GONE);
        usable.into_iter().any(|entry| addresses.contains(&entry.ip))
    }

    /// Counts one more use and returns the id; `None` when every id is taken.
    pub fn acquire(
        &mut self,
        address: SocketAddr,
        state: BackendState,
        datagrams: bool,
    ) -> Option<u32> {
        let id = match self.id(&address) {
            Some(id) => id,
            None => self.add(address, datagrams)?,
        };
        let entry = self.entries[id as usize].as_mut()?;
        *entry.count(state) += 1;
        entry.datagrams |= datagrams;
        self.touched.insert(id);
        Some(id)
    }

    /// Counts one use less.
    pub fn release(&mut self, id: u32, state: BackendState) {
        if let Some(Some(entry)) = self.entries.get_mut(id as usize) {
            let count = entry.count(state);
            *count = count.saturating_sub(1);
            self.touched.insert(id);
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
        for id in std::mem::take(&mut self.touched) {
            let Some(entry) = &mut self.entries[id as usize] else { continue };
            let state = entry.state();
            if state == backend_state::GONE && !settled {
                self.unsettled.push(id);
                continue;
            }
            let changed = entry.written != state;
            entry.written = state;
            let row = entry.row(id, state);
            if state == backend_state::GONE {
                entry.queued = entry.queued.saturating_add(1);
                self.gone.push_back((now, id));
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
        while let Some(&(since, id)) = self.gone.front() {
            if now.saturating_duration_since(since) < GRACE {
                break;
            }
            self.gone.pop_front();
            let Some(entry) = &mut self.entries[id as usize] else { continue };
            entry.queued = entry.queued.saturating_sub(1);
            // It may have come back, and even have gone again, since it was queued.
            if entry.written == backend_state::GONE && entry.queued == 0 {
                let row = entry.row(id, backend_state::UNUSED);
                self.leave(id, &row.address);
                self.entries[id as usize] = None;
                rows.push(row);
            }
        }
        rows
    }

    /// Nothing names these ids any more: they may be given to others.
    pub fn free(&mut self, ids: impl Iterator<Item = u32>) {
        let before = self.free.len();
        self.free.extend(ids);
        self.used -= self.free.len() - before;
    }

    fn add(&mut self, address: SocketAddr, datagrams: bool) -> Option<u32> {
        let id = self.free_id()?;
        self.entries[id as usize] = Some(Entry::new(address, datagrams));
        self.used += 1;
        self.enter(id, &address);
        Some(id)
    }

    fn free_id(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        let id = u32::try_from(self.entries.len()).ok()?;
        if id >= self.room.size && !self.room.grow(id.checked_add(1)?, BACKENDS_PER_CHUNK) {
            return None;
        }
        self.entries.push(None);
        Some(id)
    }

    /// The id of a known address.
    fn id(&self, address: &SocketAddr) -> Option<u32> {
        let has = |id: &u32| entry_is(&self.entries, *id, address);
        self.index.find(self.hasher.hash_one(address), has).copied()
    }

    fn enter(&mut self, id: u32, address: &SocketAddr) {
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |id: &u32| {
            let entry = entries[*id as usize].as_ref().expect("what is entered has an entry");
            hasher.hash_one(entry.address())
        };
        self.index.insert_unique(hasher.hash_one(address), id, hash);
    }

    fn leave(&mut self, id: u32, address: &SocketAddr) {
        let hash = self.hasher.hash_one(address);
        if let Ok(entry) = self.index.find_entry(hash, |entered| *entered == id) {
            entry.remove();
        }
    }
}

fn entry_is(entries: &[Option<Entry>], id: u32, address: &SocketAddr) -> bool {
    entries[id as usize].as_ref().is_some_and(|entry| entry.address() == *address)
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

        ids.release(1, BackendState::Active);
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
        ids.release(1, BackendState::Active);
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
            ids.release(1, BackendState::Active);
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

    #[test]
    fn of_two_rows_with_one_address_the_second_goes() {
        let mut ids = BackendIds::new(Room { size: 8, limit: 8 });
        let start = Instant::now();
        let row = |id, state| BackendRow { id, address: address(1), state, datagrams: false };
        ids.adopt([2, 5].map(|id| row(id, backend_state::READY)).into_iter());
        assert_eq!(ids.acquire(address(1), BackendState::Active, false), Some(2));
        let gone = row(5, backend_state::GONE);
        assert_eq!(ids.take_changed(start, true), (vec![], vec![gone]));
        assert_eq!(ids.reclaim(start + GRACE), [row(5, backend_state::UNUSED)]);
        assert_eq!(ids.acquire(address(1), BackendState::Active, false), Some(2));
    }
}
