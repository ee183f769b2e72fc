//! Words of a packet, changed in place.

use skep_packet::checksum::Difference;

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
