//! Tables that grow: arrays of one size each, in an array of maps. Growing is adding one; nothing is copied
//! and no index changes. It must hold no knowledge of what the tables are for.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    error::{Error, Result},
    pin,
    sys::{self, MapInfo},
};

/// A table that grows: its own name, which is the first chunk's, and that of the array of all chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) table: &'static str,
    pub(crate) chunks: &'static str,
}

/// The table of slots.
pub(crate) const SLOTS: Name = Name { table: "slots", chunks: "slot_chunks" };
/// The table of IPv4 backends.
pub(crate) const BACKENDS4: Name = Name { table: "backends4", chunks: "backend_chunks4" };
/// The table of IPv6 backends.
pub(crate) const BACKENDS6: Name = Name { table: "backends6", chunks: "backend_chunks6" };
/// All that grow.
pub(crate) const ALL: [Name; 3] = [SLOTS, BACKENDS4, BACKENDS6];

/// Chunks that are added at a time: the kernel waits for all programs that run, some 10 ms, each time.
const BATCH: u32 = 128;

/// The chunks of a table. One process adds to them, any number reads.
#[derive(Debug)]
pub(crate) struct Chunks {
    name: Name,
    outer: OwnedFd,
    /// What all of them are made like.
    pattern: MapInfo,
    limit: u32,
    /// How many were there when they were last counted.
    counted: AtomicU32,
}

impl Chunks {
    /// Opens the table that is pinned in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path, name: Name, value_bytes: usize) -> Result<Self> {
        let (_, pattern) = pin::open_map(maps_dir, name.table, size_of::<u32>(), value_bytes)?;
        let index = size_of::<u32>();
        let (outer, info) = pin::open_map(maps_dir, name.chunks, index, index)?;
        let limit = info.max_entries;
        Ok(Self { name, outer, pattern, limit, counted: AtomicU32::new(0) })
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &'static str {
        self.name.table
    }

    /// Entries of one chunk.
    pub(crate) fn entries(&self) -> u32 {
        self.pattern.max_entries
    }

    /// How many chunks there may be.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// How many chunks there are.
    pub(crate) fn count(&self) -> Result<u32> {
        // None ever goes: counting goes on where it ended.
        let mut count = self.counted.load(Ordering::Relaxed);
        while count < self.limit && self.id(count)?.is_some() {
            count += 1;
        }
        self.counted.store(count, Ordering::Relaxed);
        Ok(count)
    }

    /// Opens a chunk; nothing when there is none of that number.
    pub(crate) fn chunk(&self, number: u32) -> Result<Option<OwnedFd>> {
        let Some(id) = self.id(number)? else { return Ok(None) };
        sys::map_by_id(id).map(Some).map_err(|source| self.error("open a chunk of", source))
    }

    /// Adds chunks until there are `count`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] beyond the limit, [`Error::NoMemory`] when the kernel has none left: what was
    /// added before stays.
    pub(crate) fn grow(&self, count: u32) -> Result<()> {
        if count > self.limit {
            let entries = self.limit.saturating_mul(self.entries());
            let wanted = u64::from(count) * u64::from(self.entries());
            return Err(Error::OutOfRange { table: self.name.table, entries, wanted });
        }
        let mut next = self.count()?;
        while next < count {
            let end = count.min(next + BATCH);
            let made = (next..end).map(|number| {
                sys::map_alike(&self.pattern).map_err(|source| self.refused(number, source))
            });
            let chunks = made.collect::<Result<Vec<_>>>()?;
            sys::set_inner_maps(self.outer.as_fd(), next, &chunks)
                .map_err(|source| self.error("add chunks to", source))?;
            next = end;
        }
        Ok(())
    }

    /// Bytes of kernel memory that the chunks hold.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let error = |source| self.error("measure", source);
        let mut bytes = sys::map_bytes(self.outer.as_fd()).map_err(error)?;
        for number in 0..self.count()? {
            if let Some(chunk) = self.chunk(number)? {
                bytes += sys::map_bytes(chunk.as_fd()).map_err(error)?;
            }
        }
        Ok(bytes)
    }

    fn id(&self, number: u32) -> Result<Option<u32>> {
        if number >= self.limit {
            return Ok(None);
        }
        sys::inner_map(self.outer.as_fd(), number).map_err(|source| self.error("read", source))
    }

    fn refused(&self, count: u32, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::ENOMEM) => {
                Error::NoMemory { table: self.name.table, entries: count * self.entries() }
            }
            _ => self.error("make a chunk of", source),
        }
    }

    fn error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Table { action, table: self.name.table, source }
    }
}

/// Makes the pinned first chunk of each table the first of its array, where there is none yet.
pub(crate) fn begin(maps_dir: &Path) -> Result<()> {
    for name in ALL {
        let path = maps_dir.join(name.table);
        let (first, outer) = (pin::open(&path)?, pin::open(&maps_dir.join(name.chunks))?);
        let error = |source| Error::Table { action: "begin", table: name.table, source };
        let id = sys::map_info(first.as_fd()).map_err(error)?.id;
        match sys::inner_map(outer.as_fd(), 0).map_err(error)? {
            None => sys::set_inner_maps(outer.as_fd(), 0, &[first]).map_err(error)?,
            // Somebody removed the pin, and the loader made a new map that no program reads.
            Some(found) if found != id => {
                let first = sys::map_by_id(found).map_err(error)?;
                pin::replace(first.as_fd(), &path)?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}
