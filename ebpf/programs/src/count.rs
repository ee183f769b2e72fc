//! Counting what became of packets.

use skep_abi::{Hook, counter_index};

use crate::maps;

/// Counts a packet of `bytes` that `hook` dealt with under the number of a
/// [`skep_abi::Reason`].
#[inline(always)]
pub fn count(hook: Hook, reason: u32, bytes: u32) {
    if let Some(counter) = maps::COUNTS.get_ptr_mut(counter_index(hook, reason)) {
        // SAFETY: the processor's own counter; programs on one processor do not interrupt each other
        // between these two words in a way that matters for counts.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(bytes);
        }
    }
}
