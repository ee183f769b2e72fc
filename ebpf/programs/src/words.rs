//! Words of a packet, changed in place, and what that means for SCTP's checksum.

use skep_packet::{checksum::Difference, crc};

/// Puts `new` at `place`; what that changes. The caller has seen that there is room.
///
/// Word by word: of a copy from one memory to another the compiler makes a byte loop.
#[inline(always)]
pub fn replace(place: *mut u8, new: &[u32]) -> Option<Difference> {
    let (place, mut difference) = (place.cast::<u32>(), Difference::NONE);
    for (number, new) in new.iter().enumerate() {
        // SAFETY: the words lie in the packet, as the verifier proves; the machines that run eBPF load
        // from and store to any address, and any bits are a value of an integer.
        unsafe {
            let word = place.add(number);
            difference = difference.u32(*word, *new);
            *word = *new;
        }
    }
    Some(difference)
}

/// [`crc::of_change`]; `difference` as it lies in memory.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn crc_of_change(difference: u32, len: u32) -> u32 {
    crc::of_change(difference.to_ne_bytes(), len as u16)
}
