//! The bpf(2) commands that the loader library does not offer: typed map access with batches, mapped
//! arrays, pins and links by path. It must hold no knowledge of the tables.
#![expect(unsafe_code, reason = "the system calls themselves; everything above is safe")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixDatagram},
    },
    path::Path,
    ptr,
};

use crate::record::Record;

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP_ELEM: i64 = 1;
const MAP_UPDATE_ELEM: i64 = 2;
const MAP_DELETE_ELEM: i64 = 3;
const MAP_GET_NEXT_KEY: i64 = 4;
const PROG_LOAD: i64 = 5;
const OBJ_PIN: i64 = 6;
const OBJ_GET: i64 = 7;
const PROG_TEST_RUN: i64 = 10;
const MAP_GET_FD_BY_ID: i64 = 14;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const BTF_GET_FD_BY_ID: i64 = 19;
const MAP_LOOKUP_BATCH: i64 = 24;
const MAP_UPDATE_BATCH: i64 = 26;
const LINK_CREATE: i64 = 28;
const LINK_UPDATE: i64 = 29;

/// `SO_NETNS_COOKIE`, the same on all architectures that run eBPF.
const SO_NETNS_COOKIE: i32 = 71;
/// `ENOTSUPP`: what the kernel answers to a batch call on a table that has none.
pub(crate) const ENOTSUPP: i32 = 524;
/// Kinds of map that have batch calls with a cursor of 4 bytes: hash, per-CPU hash and their LRU forms.
pub(crate) const HASHES: [u32; 4] = [1, 5, 9, 10];

/// Whether an update may create, replace or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Create or replace.
    Any = 0,
    /// Create only.
    Create = 1,
}

#[repr(C)]
#[derive(Default)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value_or_next: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ObjAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    pad: u32,
    expected_revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// The kernel's `bpf_attr` for loading, up to the field that matters here.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_and_name: [u64; 5],
    ifindex: u32,
    expected_attach_type: u32,
}

/// One instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    opcode: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(opcode: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Self {
        Self { opcode, registers: src << 4 | dst, offset, immediate }
    }

    /// Calls a helper.
    pub(crate) const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, 0, 0, helper)
    }

    /// Sets a register; 0 holds the result.
    pub(crate) const fn set(register: u8, value: i32) -> Self {
        Self::new(0xb7, register, 0, 0, value)
    }

    /// Copies a register.
    pub(crate) const fn copy(dst: u8, src: u8) -> Self {
        Self::new(0xbf, dst, src, 0, 0)
    }

    /// Shifts a register right.
    pub(crate) const fn shift_right(register: u8, bits: i32) -> Self {
        Self::new(0x77, register, 0, 0, bits)
    }

    /// Adds to a register.
    pub(crate) const fn add(register: u8, value: i32) -> Self {
        Self::new(0x07, register, 0, 0, value)
    }

    /// Subtracts one register from another.
    pub(crate) const fn subtract(dst: u8, src: u8) -> Self {
        Self::new(0x1f, dst, src, 0, 0)
    }

    /// Multiplies the lower half of a register.
    pub(crate) const fn multiply(register: u8, value: i32) -> Self {
        Self::new(0x24, register, 0, 0, value)
    }

    /// Keeps the bits of `mask` of the lower half of a register.
    pub(crate) const fn and(register: u8, mask: i32) -> Self {
        Self::new(0x54, register, 0, 0, mask)
    }

    /// Cuts a register to 16 bits, in the order of the wire.
    pub(crate) const fn to_wire_u16(register: u8) -> Self {
        Self::new(0xdc, register, 0, 0, 16)
    }

    /// Loads 4 bytes from where `src` points.
    pub(crate) const fn load_u32(dst: u8, src: u8, offset: i16) -> Self {
        Self::new(0x61, dst, src, offset, 0)
    }

    /// Stores 4 bytes where `dst` points.
    pub(crate) const fn store_u32(dst: u8, offset: i16, value: i32) -> Self {
        Self::new(0x62, dst, 0, offset, value)
    }

    /// Stores a byte where `dst` points.
    pub(crate) const fn store_u8(dst: u8, offset: i16, value: i32) -> Self {
        Self::new(0x72, dst, 0, offset, value)
    }

    /// Stores the lower 4 bytes of `src` where `dst` points.
    pub(crate) const fn store_register_u32(dst: u8, offset: i16, src: u8) -> Self {
        Self::new(0x63, dst, src, offset, 0)
    }

    /// Stores the lower 2 bytes of `src` where `dst` points.
    pub(crate) const fn store_register_u16(dst: u8, offset: i16, src: u8) -> Self {
        Self::new(0x6b, dst, src, offset, 0)
    }

    /// Skips instructions when a register has this value.
    pub(crate) const fn skip_if_equal(register: u8, value: i32, count: i16) -> Self {
        Self::new(0x15, register, 0, count, value)
    }

    /// Skips instructions unless one register is greater than another.
    pub(crate) const fn skip_unless_greater(one: u8, other: u8, count: i16) -> Self {
        Self::new(0xbd, one, other, count, 0)
    }

    /// The two instructions that load the address of a map.
    pub(crate) fn map(register: u8, map: BorrowedFd<'_>) -> [Self; 2] {
        [Self::new(0x18, register, 1, 0, map.as_raw_fd()), Self::new(0, 0, 0, 0, 0)]
    }

    /// The two instructions that load the address of the value of an array of one.
    pub(crate) fn map_value(register: u8, map: BorrowedFd<'_>) -> [Self; 2] {
        [Self::new(0x18, register, 2, 0, map.as_raw_fd()), Self::new(0, 0, 0, 0, 0)]
    }

    /// Ends the program.
    pub(crate) const fn exit() -> Self {
        Self::new(0x95, 0, 0, 0, 0)
    }
}

/// The kernel's `bpf_attr` for making a map, up to the field that matters here.
#[repr(C)]
#[derive(Default)]
struct MapCreateAttr {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
    ifindex: u32,
    btf_fd: u32,
    btf_key_type: u32,
    btf_value_type: u32,
    btf_vmlinux_value_type: u32,
}

/// The kernel's `bpf_attr` for opening an object by its number.
#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// One bpf(2) call; `T` is the part of the kernel's union that `command` reads.
fn bpf<T>(command: i64, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` lives over the call, its size goes with it, and every pointer inside was made
    // from a reference that outlives the call by the functions below.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // A file descriptor or zero: fits.
    Ok(result as i32)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn address<T>(reference: &T) -> u64 {
    ptr::from_ref(reference).expose_provenance() as u64
}

fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us; nobody else holds it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The value under `key`, or nothing.
pub(crate) fn lookup<K: Record, V: Record>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attr = ElemAttr {
        map_fd: raw(map),
        key: address(key),
        value_or_next: ptr::from_mut(&mut value).expose_provenance() as u64,
        ..ElemAttr::default()
    };
    absent(bpf(MAP_LOOKUP_ELEM, &mut attr).map(|_| value))
}

/// The values of every processor under `key` of a per-CPU map; `cpus` as the kernel counts them.
pub(crate) fn lookup_per_cpu<V: Record>(
    map: BorrowedFd<'_>,
    key: u32,
    cpus: usize,
) -> io::Result<Vec<V>> {
    assert!(size_of::<V>().is_multiple_of(8), "the kernel spaces per-CPU values by 8 bytes");
    let mut values = vec![V::zeroed(); cpus];
    let mut attr = ElemAttr {
        map_fd: raw(map),
        key: address(&key),
        value_or_next: values.as_mut_ptr().expose_provenance() as u64,
        ..ElemAttr::default()
    };
    bpf(MAP_LOOKUP_ELEM, &mut attr).map(|_| values)
}

/// Writes `value` under `key`.
pub(crate) fn update<K: Record, V: Record>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
    mode: Update,
) -> io::Result<()> {
    let mut attr = ElemAttr {
        map_fd: raw(map),
        key: address(key),
        value_or_next: address(value),
        flags: mode as u64,
        ..ElemAttr::default()
    };
    bpf(MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Removes `key`; whether it was there.
pub(crate) fn delete<K: Record>(map: BorrowedFd<'_>, key: &K) -> io::Result<bool> {
    let mut attr = ElemAttr { map_fd: raw(map), key: address(key), ..ElemAttr::default() };
    absent(bpf(MAP_DELETE_ELEM, &mut attr)).map(|done| done.is_some())
}

/// The key after `key` (the first one without), or nothing at the end.
pub(crate) fn next_key<K: Record>(map: BorrowedFd<'_>, key: Option<&K>) -> io::Result<Option<K>> {
    let mut next = K::zeroed();
    let mut attr = ElemAttr {
        map_fd: raw(map),
        key: key.map_or(0, address),
        value_or_next: ptr::from_mut(&mut next).expose_provenance() as u64,
        ..ElemAttr::default()
    };
    absent(bpf(MAP_GET_NEXT_KEY, &mut attr).map(|_| next))
}

/// Appends up to `room` entries of a hash table. `cursor` is where the last batch ended; nothing at
/// the start. Returns the next cursor, or nothing at the end.
///
/// # Errors
/// `ENOSPC` when a bucket of the table holds more than `room` entries: ask again with more room.
pub(crate) fn lookup_batch<K: Record, V: Record>(
    map: BorrowedFd<'_>,
    cursor: Option<u64>,
    room: usize,
    entries: &mut Vec<(K, V)>,
) -> io::Result<Option<u64>> {
    let mut keys = vec![K::zeroed(); room];
    let mut values = vec![V::zeroed(); room];
    // Hash tables write 4 bytes here, others a whole key: see `HASHES`.
    let mut next = 0u64;
    let mut attr = BatchAttr {
        in_batch: cursor.as_ref().map_or(0, address),
        out_batch: ptr::from_mut(&mut next).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(room).unwrap_or(u32::MAX),
        map_fd: raw(map),
        ..BatchAttr::default()
    };
    let done = absent(bpf(MAP_LOOKUP_BATCH, &mut attr))?;
    let count = attr.count as usize;
    entries.extend(keys.into_iter().zip(values).take(count));
    Ok(done.map(|_| next))
}

/// Writes all pairs; creates or replaces.
pub(crate) fn update_batch<K: Record, V: Record>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "one value per key");
    if keys.is_empty() {
        return Ok(());
    }
    let mut attr = BatchAttr {
        keys: keys.as_ptr().expose_provenance() as u64,
        values: values.as_ptr().expose_provenance() as u64,
        count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        map_fd: raw(map),
        ..BatchAttr::default()
    };
    bpf(MAP_UPDATE_BATCH, &mut attr).map(drop)
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Opens what is pinned at `path`: a map, a program or a link.
pub(crate) fn obj_get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = ObjAttr { path: path.as_ptr().expose_provenance() as u64, ..ObjAttr::default() };
    bpf(OBJ_GET, &mut attr).map(own)
}

/// Pins `object` at `path`, which must not exist.
pub(crate) fn obj_pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = ObjAttr {
        path: path.as_ptr().expose_provenance() as u64,
        fd: raw(object),
        ..ObjAttr::default()
    };
    bpf(OBJ_PIN, &mut attr).map(drop)
}

/// The kernel's `bpf_map_info` up to the fields that are read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; 16],
    pub(crate) ifindex: u32,
    pub(crate) btf_vmlinux_value_type: u32,
    pub(crate) netns: [u64; 2],
    pub(crate) btf_id: u32,
    pub(crate) btf_key_type: u32,
    pub(crate) btf_value_type: u32,
    pub(crate) btf_vmlinux_id: u32,
}

/// The kernel's `bpf_prog_info` up to the field that is read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct ProgramInfo {
    head: [u64; 27],
    verified_insns: u32,
    pad: u32,
}

/// The kernel's `bpf_link_info` for links on a device (TCX, XDP): 4 words, then the device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
    rest: [u64; 8],
}

fn info<T: Default>(object: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut attr = InfoAttr {
        fd: raw(object),
        len: size_of::<T>() as u32,
        info: ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).map(|_| info)
}

/// What the kernel knows of a map.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    info(map)
}

/// Opens the map with this number.
pub(crate) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    bpf(MAP_GET_FD_BY_ID, &mut IdAttr { id, ..IdAttr::default() }).map(own)
}

/// Makes a map of the same kind, size, name and types as another.
pub(crate) fn map_alike(pattern: &MapInfo) -> io::Result<OwnedFd> {
    let types = match pattern.btf_id {
        0 => None,
        id => Some(bpf(BTF_GET_FD_BY_ID, &mut IdAttr { id, ..IdAttr::default() }).map(own)?),
    };
    let mut attr = MapCreateAttr {
        kind: pattern.kind,
        key_size: pattern.key_size,
        value_size: pattern.value_size,
        max_entries: pattern.max_entries,
        flags: pattern.flags,
        name: pattern.name,
        btf_fd: types.as_ref().map_or(0, |types| raw(types.as_fd())),
        btf_key_type: pattern.btf_key_type,
        btf_value_type: pattern.btf_value_type,
        ..MapCreateAttr::default()
    };
    bpf(MAP_CREATE, &mut attr).map(own)
}

/// The number of the map that is entry `index` of an array of maps, if there is one.
pub(crate) fn inner_map(outer: BorrowedFd<'_>, index: u32) -> io::Result<Option<u32>> {
    lookup(outer, &index)
}

/// Makes maps the entries of an array of maps from `index` on.
pub(crate) fn set_inner_maps(
    outer: BorrowedFd<'_>,
    index: u32,
    inner: &[OwnedFd],
) -> io::Result<()> {
    let fds: Vec<u32> = inner.iter().map(|map| raw(map.as_fd())).collect();
    let keys: Vec<u32> = (index..).take(fds.len()).collect();
    update_batch(outer, &keys, &fds)
}

/// Bytes of kernel memory that a map holds, as the kernel accounts them.
pub(crate) fn map_bytes(map: BorrowedFd<'_>) -> io::Result<u64> {
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let bytes = about.lines().find_map(|line| line.strip_prefix("memlock:"));
    let bytes = bytes.and_then(|bytes| bytes.trim().parse().ok());
    bytes.ok_or_else(|| io::Error::other("the kernel does not tell a map's memory"))
}

/// Instructions that the verifier walked to accept the program.
pub(crate) fn verified_insns(program: BorrowedFd<'_>) -> io::Result<u32> {
    info::<ProgramInfo>(program).map(|info| info.verified_insns)
}

/// The device of a TCX or XDP link; 0 when the device is gone.
pub(crate) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    info::<LinkInfo>(link).map(|info| info.ifindex)
}

/// Attaches `program` to `target` (a device index or a cgroup's descriptor).
pub(crate) fn link_create(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr =
        LinkAttr { prog_fd: raw(program), target, attach_type, flags, ..LinkAttr::default() };
    bpf(LINK_CREATE, &mut attr).map(own)
}

/// Puts `program` in the place of the link's program; packets see one or the other.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdateAttr {
        link_fd: raw(link),
        new_prog_fd: raw(program),
        ..LinkUpdateAttr::default()
    };
    bpf(LINK_UPDATE, &mut attr).map(drop)
}

/// What a test run gave back.
pub(crate) struct TestRunOutput {
    pub(crate) verdict: u32,
    pub(crate) duration_ns: u32,
    pub(crate) data_len: usize,
}

/// Runs `program` over `data` `repeat` times; what it left of the packet is in `out`.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    data: &[u8],
    context: &[u8],
    repeat: u32,
    out: &mut [u8],
) -> io::Result<TestRunOutput> {
    let asked = TestRunAttr {
        prog_fd: raw(program),
        data_size_in: data.len() as u32,
        data_size_out: out.len() as u32,
        data_in: data.as_ptr().expose_provenance() as u64,
        data_out: out.as_mut_ptr().expose_provenance() as u64,
        repeat,
        ctx_size_in: context.len() as u32,
        ctx_in: if context.is_empty() { 0 } else { context.as_ptr().expose_provenance() as u64 },
        ..TestRunAttr::default()
    };
    loop {
        let mut attr = asked;
        match bpf(PROG_TEST_RUN, &mut attr) {
            // The kernel looks for signals between repeats, and ends for any.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => {
                return Ok(TestRunOutput {
                    verdict: attr.retval,
                    duration_ns: attr.duration,
                    data_len: attr.data_size_out as usize,
                });
            }
        }
    }
}

/// A program type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramType {
    /// `BPF_PROG_TYPE_SCHED_CLS`.
    SchedCls = 3,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp = 6,
}

/// Loads a program from its instructions.
pub(crate) fn load(kind: ProgramType, program: &[Instruction]) -> io::Result<OwnedFd> {
    const BPF_XDP: u32 = 37;
    let license = c"Dual MIT/GPL";
    let mut attr = LoadAttr {
        kind: kind as u32,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        // Since Linux 6.18 programs jump only to those of their own attach type.
        expected_attach_type: if kind == ProgramType::Xdp { BPF_XDP } else { 0 },
        ..LoadAttr::default()
    };
    bpf(PROG_LOAD, &mut attr).map(own)
}

/// Makes a table of programs to jump to, with one in it.
pub(crate) fn program_array(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const PROG_ARRAY: u32 = 3;
    let mut attr = MapCreateAttr {
        kind: PROG_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..MapCreateAttr::default()
    };
    let array = bpf(MAP_CREATE, &mut attr).map(own)?;
    update(array.as_fd(), &0_u32, &raw(program), Update::Any)?;
    Ok(array)
}

/// Makes an array of one number.
pub(crate) fn counter() -> io::Result<OwnedFd> {
    const ARRAY: u32 = 2;
    let mut attr = MapCreateAttr {
        kind: ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..MapCreateAttr::default()
    };
    bpf(MAP_CREATE, &mut attr).map(own)
}

/// The magic number of the file system that `path` is on.
pub(crate) fn file_system(path: &Path) -> io::Result<i64> {
    let path = c_path(path)?;
    // SAFETY: all zero is a value of this plain type.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers live over the call.
    match unsafe { libc::statfs(path.as_ptr(), &raw mut about) } {
        0 => Ok(about.f_type),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's monotonic clock, which programs read as well.
pub fn monotonic_ns() -> u64 {
    // SAFETY: all zero is a value of this plain type.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer lives over the call; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The cookie of the calling thread's network namespace, as programs at its sockets see it.
pub fn netns_cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let (mut cookie, mut bytes) = (0_u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: both pointers live over the call, which writes no more than `bytes`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut bytes,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
