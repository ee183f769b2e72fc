//! A typed handle on a hash, LRU, longest-prefix or small array table.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use crate::{
    error::{Error, Result},
    pin,
    record::Record,
    sys::{self, Update},
};

/// Entries that one batch call reads at first.
const BATCH: usize = 256;

/// A pinned table of `K` to `V`. All methods may be called from any thread; the kernel orders them.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    fd: OwnedFd,
    max_entries: u32,
    is_hash: bool,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Record, V: Record> Table<K, V> {
    /// Opens the table that is pinned as `name` in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path, name: &'static str) -> Result<Self> {
        let (fd, info) = pin::open_map(maps_dir, name, size_of::<K>(), size_of::<V>())?;
        let is_hash = sys::HASHES.contains(&info.kind);
        Ok(Self { name, fd, max_entries: info.max_entries, is_hash, types: PhantomData })
    }

    /// The table's name, as pinned and as `bpftool map` shows it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many entries it has room for.
    pub fn capacity(&self) -> u32 {
        self.max_entries
    }

    /// The value under `key`.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        sys::lookup(self.fd.as_fd(), key).map_err(|error| self.error("read", error))
    }

    /// Writes `value` under `key`, whether or not it was there; programs see the old or the new value,
    /// never a mixture.
    pub fn insert(&self, key: &K, value: &V) -> Result<()> {
        sys::update(self.fd.as_fd(), key, value, Update::Any)
            .map_err(|error| self.error("write", error))
    }

    /// Writes `value` under `key` if nothing is there; whether it did.
    pub fn insert_new(&self, key: &K, value: &V) -> Result<bool> {
        match sys::update(self.fd.as_fd(), key, value, Update::Create) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(self.error("write", error)),
        }
    }

    /// Writes many entries with as few system calls as the kernel allows; creates or replaces.
    pub fn insert_all(&self, entries: &[(K, V)]) -> Result<()> {
        let (keys, values): (Vec<K>, Vec<V>) = entries.iter().copied().unzip();
        match sys::update_batch(self.fd.as_fd(), &keys, &values) {
            Ok(()) => Ok(()),
            // A kind of table without batches.
            Err(error) if error.raw_os_error() == Some(sys::ENOTSUPP) => {
                entries.iter().try_for_each(|(key, value)| self.insert(key, value))
            }
            Err(error) => Err(self.error("write", error)),
        }
    }

    /// Removes `key`; whether it was there.
    pub fn remove(&self, key: &K) -> Result<bool> {
        sys::delete(self.fd.as_fd(), key).map_err(|error| self.error("remove from", error))
    }

    /// All entries as they are now. An entry that programs change meanwhile may be missed or, after a
    /// removal elsewhere, come twice.
    pub fn entries(&self) -> Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        self.visit(|batch| entries.extend_from_slice(batch))?;
        Ok(entries)
    }

    /// As [`Table::entries`], but a batch at a time, for tables that may be large.
    pub fn visit(&self, mut visitor: impl FnMut(&[(K, V)])) -> Result<()> {
        if !self.is_hash {
            visitor(&self.entries_by_key()?);
            return Ok(());
        }
        let (mut batch, mut cursor, mut room) = (Vec::new(), None, BATCH);
        loop {
            batch.clear();
            match sys::lookup_batch(self.fd.as_fd(), cursor, room, &mut batch) {
                Ok(next) => {
                    visitor(&batch);
                    if next.is_none() {
                        return Ok(());
                    }
                    cursor = next;
                }
                // A bucket holds more than there was room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => room *= 2,
                Err(error) => return Err(self.error("read", error)),
            }
        }
    }

    /// Bytes of kernel memory that the table holds.
    pub fn bytes(&self) -> Result<u64> {
        sys::map_bytes(self.fd.as_fd()).map_err(|error| self.error("measure", error))
    }

    /// How many entries there are: whoever asks pays for a walk.
    pub fn count(&self) -> Result<u64> {
        let mut count = 0;
        if self.is_hash {
            self.visit(|batch| count += batch.len() as u64)?;
        } else {
            self.visit_keys(|_| {
                count += 1;
                Ok(())
            })?;
        }
        Ok(count)
    }

    fn entries_by_key(&self) -> Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        self.visit_keys(|key| {
            entries.extend(self.get(&key)?.map(|value| (key, value)));
            Ok(())
        })?;
        Ok(entries)
    }

    fn visit_keys(&self, mut visitor: impl FnMut(K) -> Result<()>) -> Result<()> {
        let next = |key: Option<&K>| {
            sys::next_key(self.fd.as_fd(), key).map_err(|error| self.error("walk", error))
        };
        let mut key = next(None)?;
        while let Some(current) = key {
            visitor(current)?;
            key = next(Some(&current))?;
        }
        Ok(())
    }

    fn error(&self, action: &'static str, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC) => {
                Error::Full { table: self.name, entries: self.max_entries }
            }
            _ => Error::Table { action, table: self.name, source },
        }
    }
}

impl<K, V> AsFd for Table<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
