//! Arrays that are written through memory instead of system calls: `slots` and `backends`.
#![expect(unsafe_code, reason = "memory shared with the kernel, touched through atomics only")]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use skep_abi::SLOTS_PER_BLOCK;

use crate::{
    error::{Error, Result},
    pin,
    record::Record,
};

/// Bytes that are mapped at a time. The kernel makes a whole mapping resident at once, and counts it to
/// this process as well.
const WINDOW_BYTES: usize = 1 << 20;
/// Windows that stay mapped: the ones used last.
const WINDOWS: usize = 4;

/// An array of `V` in memory that the programs read. Single words are never torn; a value of several
/// words is not written at once, so order matters: see [`skep_abi::Backend`] and [`skep_abi::Service`].
#[derive(Debug)]
pub struct Mapped<V> {
    name: &'static str,
    fd: OwnedFd,
    /// The last used first, each with its number.
    windows: Mutex<Vec<(usize, Arc<Window>)>>,
    bytes: usize,
    stride: usize,
    max_entries: u32,
    types: PhantomData<fn() -> V>,
}

/// A part of an array in memory.
#[derive(Debug)]
struct Window {
    base: NonNull<AtomicU32>,
    bytes: usize,
}

// SAFETY: the mapping is owned by this value, belongs to no thread and is accessed through atomics.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Maps `bytes` of the array from `offset` on.
    fn map(fd: BorrowedFd<'_>, offset: usize, bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of a map that the kernel checks the range against; no memory of
        // ours is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { base: NonNull::new(base.cast()).expect("mmap never returns null"), bytes })
    }

    /// The words of `bytes` from `offset` on.
    fn words(&self, offset: usize, bytes: usize) -> &[AtomicU32] {
        assert!(offset + bytes <= self.bytes && offset.is_multiple_of(4), "inside of the window");
        // SAFETY: the range was just checked against the mapping, which lives as long as `self`; atomics
        // may be shared with the kernel's writes.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset / 4), bytes / 4) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this size and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

impl<V: Record> Mapped<V> {
    /// Opens the array that is pinned as `name` in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path, name: &'static str) -> Result<Self> {
        const { assert!(size_of::<V>().is_multiple_of(4) && align_of::<V>() <= 4) };
        let (fd, info) = pin::open_map(maps_dir, name, size_of::<u32>(), size_of::<V>())?;
        // The kernel's elements start at multiples of 8 bytes, the array ends at a page.
        let stride = size_of::<V>().next_multiple_of(8);
        assert!(WINDOW_BYTES.is_multiple_of(stride), "no element lies in two windows");
        let bytes = (stride * info.max_entries as usize).next_multiple_of(4096);
        let (windows, max_entries) = (Mutex::default(), info.max_entries);
        Ok(Self { name, fd, windows, bytes, stride, max_entries, types: PhantomData })
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many elements it has.
    pub fn capacity(&self) -> u32 {
        self.max_entries
    }

    /// The window with element `index`, and where the element begins in it.
    fn place(&self, index: u32) -> Result<(Arc<Window>, usize)> {
        if index >= self.max_entries {
            let (entries, wanted) = (self.max_entries, u64::from(index));
            return Err(Error::OutOfRange { table: self.name, entries, wanted });
        }
        let offset = index as usize * self.stride;
        Ok((self.window(offset / WINDOW_BYTES)?, offset % WINDOW_BYTES))
    }

    /// The window with this number.
    fn window(&self, number: usize) -> Result<Arc<Window>> {
        // What a thread that died left is whole: windows are pushed and moved, never changed.
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = windows.iter().position(|(mapped, _)| *mapped == number) {
            windows[..=at].rotate_right(1);
            return Ok(windows[0].1.clone());
        }
        let offset = number * WINDOW_BYTES;
        let bytes = WINDOW_BYTES.min(self.bytes - offset);
        let window = Window::map(self.fd.as_fd(), offset, bytes)
            .map_err(|source| Error::Table { action: "map", table: self.name, source })?;
        windows.truncate(WINDOWS - 1);
        windows.insert(0, (number, Arc::new(window)));
        Ok(windows[0].1.clone())
    }

    /// Element `index`.
    pub fn get(&self, index: u32) -> Result<V> {
        let (window, offset) = self.place(index)?;
        let mut value = V::zeroed();
        let to = ptr::from_mut(&mut value).cast::<u32>();
        for (place, word) in window.words(offset, size_of::<V>()).iter().enumerate() {
            // SAFETY: `place` is below the number of words in `V`, whose every bit pattern is valid.
            unsafe { to.add(place).write(word.load(Ordering::Relaxed)) };
        }
        Ok(value)
    }

    /// Writes element `index`, word by word.
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        let (window, offset) = self.place(index)?;
        let from = ptr::from_ref(value).cast::<u32>();
        for (place, word) in window.words(offset, size_of::<V>()).iter().enumerate() {
            // SAFETY: `place` is below the number of words in `V`, which has no padding.
            word.store(unsafe { from.add(place).read() }, Ordering::Release);
        }
        Ok(())
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
        self.0.capacity().saturating_mul(SLOTS_PER_BLOCK)
    }

    /// Refuses runs that are not wholly inside.
    fn check(&self, base: u32, count: usize) -> Result<()> {
        let (entries, wanted) = (self.capacity(), u64::from(base) + count as u64);
        if wanted > u64::from(entries) {
            return Err(Error::OutOfRange { table: self.0.name, entries, wanted });
        }
        Ok(())
    }

    /// Calls `visit` with the words of a run, a window's part at a time, and where each part begins in
    /// the run.
    fn visit(
        &self,
        base: u32,
        count: usize,
        mut visit: impl FnMut(usize, &[AtomicU32]),
    ) -> Result<()> {
        self.check(base, count)?;
        let mut done = 0;
        while done < count {
            // Blocks follow each other without a gap: the array is one of words.
            let offset = (base as usize + done) * size_of::<u32>();
            let start = offset % WINDOW_BYTES;
            let part = (count - done).min((WINDOW_BYTES - start) / size_of::<u32>());
            let window = self.0.window(offset / WINDOW_BYTES)?;
            visit(done, window.words(start, part * size_of::<u32>()));
            done += part;
        }
        Ok(())
    }

    /// Writes a run of backend ids from slot `base` on. Write a run only while no entry of `services`
    /// leads to it.
    pub fn write(&self, base: u32, backends: &[u32]) -> Result<()> {
        self.visit(base, backends.len(), |start, words| {
            for (word, backend) in words.iter().zip(&backends[start..]) {
                word.store(*backend, Ordering::Release);
            }
        })
    }

    /// The backend ids of `count` slots from `base` on.
    pub fn read(&self, base: u32, count: u32) -> Result<Vec<u32>> {
        let mut backends = Vec::with_capacity(count as usize);
        self.visit(base, count as usize, |_, words| {
            backends.extend(words.iter().map(|word| word.load(Ordering::Relaxed)));
        })?;
        Ok(backends)
    }
}
