//! Arrays that are written through memory instead of system calls: `slots` and `backends`.
#![expect(unsafe_code, reason = "memory shared with the kernel, touched through atomics only")]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use skep_abi::{NO_BACKEND, SLOTS_PER_BLOCK, SLOTS_PER_CHUNK};

use crate::{
    chunks::{self, Chunks},
    error::{Error, Result},
    record::Record,
};

/// Bytes of a table that stay mapped: the chunks used last. The kernel makes a mapping resident at once,
/// and counts it to this process as well.
const MAPPED_BYTES: usize = 1 << 19;

/// A table of `V` in memory that the programs read, and that grows. Single words are never torn; a value of
/// several words is not written at once, so order matters: see [`skep_abi::Backend`] and
/// [`skep_abi::Service`].
#[derive(Debug)]
pub struct Mapped<V> {
    chunks: Chunks,
    /// The last used first, each with the number of its chunk.
    windows: Mutex<Vec<(u32, Arc<Window>)>>,
    types: PhantomData<fn() -> V>,
}

/// A chunk in memory.
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
    /// Maps `bytes` of the array.
    fn map(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of a map that the kernel checks the range against; no memory of
        // ours is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
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
    /// The kernel's elements start at multiples of 8 bytes.
    const STRIDE: usize = size_of::<V>().next_multiple_of(8);

    /// Opens the table that is pinned in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path, name: chunks::Name) -> Result<Self> {
        const { assert!(size_of::<V>().is_multiple_of(4) && align_of::<V>() <= 4) };
        let chunks = Chunks::open(maps_dir, name, size_of::<V>())?;
        Ok(Self { chunks, windows: Mutex::default(), types: PhantomData })
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.chunks.name()
    }

    /// How many elements there are now.
    pub fn size(&self) -> Result<u32> {
        // The limit fits.
        Ok(self.chunks.count()? * self.chunks.entries())
    }

    /// How many elements there may be.
    pub fn limit(&self) -> u32 {
        self.chunks.limit().saturating_mul(self.chunks.entries())
    }

    /// Makes room for `elements` at least; what is there stays where it is. For the process that writes.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] beyond the limit, [`Error::NoMemory`] when the kernel has none left.
    pub fn grow(&self, elements: u32) -> Result<()> {
        self.chunks.grow(elements.div_ceil(self.chunks.entries()))
    }

    /// Bytes of kernel memory that the table holds.
    pub fn bytes(&self) -> Result<u64> {
        self.chunks.bytes()
    }

    /// The chunk with element `index`, and where the element begins in it.
    fn place(&self, index: u32) -> Result<(Arc<Window>, usize)> {
        let entries = self.chunks.entries();
        Ok((self.window(index / entries)?, (index % entries) as usize * Self::STRIDE))
    }

    /// The chunk with this number.
    fn window(&self, number: u32) -> Result<Arc<Window>> {
        // What a thread that died left is whole: windows are pushed and moved, never changed.
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = windows.iter().position(|(mapped, _)| *mapped == number) {
            windows[..=at].rotate_right(1);
            return Ok(windows[0].1.clone());
        }
        let Some(chunk) = self.chunks.chunk(number)? else {
            let wanted = u64::from(number) * u64::from(self.chunks.entries());
            return Err(Error::OutOfRange { table: self.name(), entries: self.size()?, wanted });
        };
        let bytes = (Self::STRIDE * self.chunks.entries() as usize).next_multiple_of(4096);
        let window = Window::map(chunk.as_fd(), bytes).map_err(|source| Error::Table {
            action: "map",
            table: self.name(),
            source,
        })?;
        windows.truncate((MAPPED_BYTES / bytes).max(2) - 1);
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
    /// Opens the table that is pinned in `maps_dir`.
    pub(crate) fn open(maps_dir: &Path) -> Result<Self> {
        Mapped::open(maps_dir, chunks::SLOTS).map(Self)
    }

    /// How many slots there are now.
    pub fn size(&self) -> Result<u32> {
        Ok(self.0.size()?.saturating_mul(SLOTS_PER_BLOCK))
    }

    /// How many slots there may be.
    pub fn limit(&self) -> u32 {
        self.0.limit().saturating_mul(SLOTS_PER_BLOCK)
    }

    /// Makes room for so many slots at least: see [`Mapped::grow`].
    pub fn grow(&self, slots: u32) -> Result<()> {
        self.0.grow(slots.div_ceil(SLOTS_PER_BLOCK))
    }

    /// Bytes of kernel memory that the table holds.
    pub fn bytes(&self) -> Result<u64> {
        self.0.bytes()
    }

    /// Refuses runs that are not wholly inside.
    fn check(&self, base: u32, count: usize) -> Result<()> {
        let (entries, wanted) = (self.size()?, u64::from(base) + count as u64);
        if wanted > u64::from(entries) {
            return Err(Error::OutOfRange { table: self.0.name(), entries, wanted });
        }
        Ok(())
    }

    /// Calls `visit` with the words of a run, a chunk's part at a time, and where each part begins in the
    /// run.
    fn visit(
        &self,
        base: u32,
        count: usize,
        mut visit: impl FnMut(usize, &[AtomicU32]),
    ) -> Result<()> {
        self.check(base, count)?;
        let (chunk_slots, base) = (SLOTS_PER_CHUNK as usize, base as usize);
        let mut done = 0;
        while done < count {
            // Blocks follow each other without a gap: a chunk is an array of words.
            let (chunk, start) = ((base + done) / chunk_slots, (base + done) % chunk_slots);
            let part = (count - done).min(chunk_slots - start);
            // The run is inside, and so is its chunk's number.
            let window = self.0.window(chunk as u32)?;
            visit(done, window.words(start * size_of::<u32>(), part * size_of::<u32>()));
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
        let mut backends = Vec::new();
        self.visit(base, count as usize, |_, words| {
            backends.extend(words.iter().map(|word| word.load(Ordering::Relaxed)));
        })?;
        Ok(backends)
    }

    /// How many slots hold a backend.
    pub fn used(&self) -> Result<u32> {
        let mut used = 0;
        self.visit(0, self.size()? as usize, |_, words| {
            let is_used = |word: &&AtomicU32| word.load(Ordering::Relaxed) != NO_BACKEND;
            used += words.iter().filter(is_used).count() as u32;
        })?;
        Ok(used)
    }
}
