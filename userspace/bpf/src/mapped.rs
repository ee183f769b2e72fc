//! Arrays that are written through memory instead of system calls: `slots` and `backends`.
#![expect(unsafe_code, reason = "memory shared with the kernel, touched through atomics only")]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    error::{Error, Result},
    pin,
    record::Record,
};

/// An array of `V` in memory that the programs read. Single words are never torn; a value of several
/// words is not written at once, so order matters: see [`skep_abi::Backend`] and [`skep_abi::Service`].
#[derive(Debug)]
pub struct Mapped<V> {
    name: &'static str,
    /// Keeps the map alive for the mapping's life, as its documentation does not promise that.
    _fd: OwnedFd,
    base: NonNull<AtomicU32>,
    bytes: usize,
    stride_words: usize,
    max_entries: u32,
    types: PhantomData<V>,
}

// SAFETY: the mapping is owned by this value, belongs to no thread and is accessed through atomics.
unsafe impl<V> Send for Mapped<V> {}
// SAFETY: as above.
unsafe impl<V> Sync for Mapped<V> {}

impl<V: Record> Mapped<V> {
    /// Maps the array that is pinned as `name` in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path, name: &'static str) -> Result<Self> {
        const { assert!(size_of::<V>().is_multiple_of(4) && align_of::<V>() <= 4) };
        let (fd, info) = pin::open_map(maps_dir, name, size_of::<u32>(), size_of::<V>())?;
        // The kernel's elements start at multiples of 8 bytes, the mapping ends at a page.
        let stride = size_of::<V>().next_multiple_of(8);
        let bytes = (stride * info.max_entries as usize).next_multiple_of(4096);
        // SAFETY: a fresh shared mapping of a map of at least that size; no memory of ours is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_fd().as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            let source = io::Error::last_os_error();
            return Err(Error::Table { action: "map", table: name, source });
        }
        Ok(Self {
            name,
            _fd: fd,
            base: NonNull::new(base.cast()).expect("mmap never returns null"),
            bytes,
            stride_words: stride / 4,
            max_entries: info.max_entries,
            types: PhantomData,
        })
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many elements it has.
    pub fn capacity(&self) -> u32 {
        self.max_entries
    }

    /// The words of `count` elements from `index`.
    fn words(&self, index: u32, count: u32) -> Result<&[AtomicU32]> {
        let end = u64::from(index) + u64::from(count);
        if end > u64::from(self.max_entries) {
            let entries = self.max_entries;
            return Err(Error::OutOfRange { table: self.name, entries, wanted: end });
        }
        let offset = index as usize * self.stride_words;
        // SAFETY: the range was checked against the mapping, which lives as long as `self`; atomics may
        // be shared with the kernel's writes.
        Ok(unsafe {
            std::slice::from_raw_parts(
                self.base.as_ptr().add(offset),
                count as usize * self.stride_words,
            )
        })
    }

    /// Element `index`.
    pub fn get(&self, index: u32) -> Result<V> {
        let words = self.words(index, 1)?;
        let mut value = V::zeroed();
        let to = ptr::from_mut(&mut value).cast::<u32>();
        for (place, word) in words.iter().take(size_of::<V>() / 4).enumerate() {
            // SAFETY: `place` is below the number of words in `V`, whose every bit pattern is valid.
            unsafe { to.add(place).write(word.load(Ordering::Relaxed)) };
        }
        Ok(value)
    }

    /// Writes element `index`, word by word.
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        let words = self.words(index, 1)?;
        let from = ptr::from_ref(value).cast::<u32>();
        for (place, word) in words.iter().take(size_of::<V>() / 4).enumerate() {
            // SAFETY: `place` is below the number of words in `V`, which has no padding.
            word.store(unsafe { from.add(place).read() }, Ordering::Release);
        }
        Ok(())
    }
}

impl<V> Drop for Mapped<V> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this size and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Table `slots` as what it is to user space: one flat array of backend ids.
#[derive(Debug)]
pub struct Slots(Mapped<skep_abi::SlotBlock>);

impl Slots {
    /// Maps the table that is pinned in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path) -> Result<Self> {
        Mapped::open(maps_dir, "slots").map(Self)
    }

    /// How many slots there are.
    pub fn capacity(&self) -> u32 {
        self.0.capacity().saturating_mul(skep_abi::SLOTS_PER_BLOCK)
    }

    /// The slots of a run.
    fn run(&self, base: u32, count: usize) -> Result<&[AtomicU32]> {
        let (all, base) = (self.0.words(0, self.0.capacity())?, base as usize);
        all.get(base..base.saturating_add(count)).ok_or(Error::OutOfRange {
            table: self.0.name,
            entries: self.capacity(),
            wanted: (base + count) as u64,
        })
    }

    /// Writes a run of backend ids from slot `base` on. Write a run only while no entry of `services`
    /// leads to it.
    pub fn write(&self, base: u32, backends: &[u32]) -> Result<()> {
        for (slot, backend) in self.run(base, backends.len())?.iter().zip(backends) {
            slot.store(*backend, Ordering::Release);
        }
        Ok(())
    }

    /// The backend ids of `count` slots from `base` on.
    pub fn read(&self, base: u32, count: u32) -> Result<Vec<u32>> {
        let run = self.run(base, count as usize)?;
        Ok(run.iter().map(|slot| slot.load(Ordering::Relaxed)).collect())
    }
}
