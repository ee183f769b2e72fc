//! Values of all zeroes on the stack. Of a default value the compiler makes a loop over its bytes, which
//! is a tenth of what an established packet costs.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_fib_lookup;
use skep_abi::NextHop;
use skep_engine::{Net, Step};

/// A type of which all zeroes is a value.
///
/// # Safety
/// Every bit pattern of zeroes is a valid value, and its size is a multiple of 4.
pub unsafe trait Zero {}

// SAFETY: integers and arrays of them.
unsafe impl<F: Net> Zero for Step<F> {}
// SAFETY: as above.
unsafe impl Zero for bpf_fib_lookup {}
// SAFETY: as above.
unsafe impl Zero for NextHop {}

/// Zeroes a place and gives the value in it, word by word.
#[inline(always)]
pub fn zeroed<T: Zero>(place: &mut MaybeUninit<T>) -> &mut T {
    let words = place.as_mut_ptr().cast::<u32>();
    for number in 0..size_of::<T>() / 4 {
        // SAFETY: a word of the place; volatile keeps the compiler from making a loop over bytes.
        unsafe { words.add(number).write_volatile(0) };
    }
    // SAFETY: written above, and the type allows it.
    unsafe { place.assume_init_mut() }
}
