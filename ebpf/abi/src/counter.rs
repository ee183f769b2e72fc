//! Table `counters` (per-CPU array): packets and bytes by hook and reason.

use crate::{Hook, Reason};

/// One counter; add up the processors' values.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets (connections at the socket hooks).
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counters that a hook has room for.
const PER_HOOK: u32 = 32;

/// Entries of the table.
pub const COUNTERS: u32 = Hook::ALL.len() as u32 * PER_HOOK;

/// Index of the counter at `hook` for the [`Reason`] with this number.
#[inline(always)]
pub const fn counter_index(hook: Hook, reason: u32) -> u32 {
    hook as u32 * PER_HOOK + reason
}

const _: () = {
    assert!(size_of::<Counter>() == 16);
    assert!(Reason::ALL.len() <= PER_HOOK as usize);
};
