//! The internet checksum: in full (RFC 1071) and by difference (RFC 1624).
//!
//! Sums are of 16-bit words in the machine's byte order; the arithmetic is the same in either order.

/// What a change of fields adds to the sum over them: ones' complement, not yet folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference(u64);

impl Difference {
    /// No change.
    pub const NONE: Self = Self(0);

    /// Notes that `old` became `new`, 16 bits as they lie on the wire.
    #[inline(always)]
    #[must_use]
    pub const fn u16(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Notes that `old` became `new`, 32 bits as they lie on the wire.
    #[inline(always)]
    #[must_use]
    pub const fn u32(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Notes that the words `old` became `new`.
    #[inline(always)]
    #[must_use]
    pub fn words(self, old: &[u32], new: &[u32]) -> Self {
        let mut sum = self;
        for (old, new) in old.iter().zip(new) {
            sum = sum.u32(*old, *new);
        }
        sum
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Whether nothing was noted.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Folded to the 32 bits that the kernel's helpers take.
    #[inline(always)]
    pub const fn fold32(self) -> u32 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        ((sum & 0xffff_ffff) + (sum >> 32)) as u32
    }

    /// The checksum that takes the place of `checksum` (RFC 1624, equation 3).
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(!checksum as u64 + self.0)
    }
}

/// Folds a sum to 16 bits with end-around carry.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The sum over `words`, not yet folded.
#[inline(always)]
pub fn sum_words(words: &[u32]) -> u64 {
    let mut sum = 0;
    for word in words {
        sum += *word as u64;
    }
    sum
}

/// The checksum in full over `bytes` on top of `start`, as it stands in the field.
pub fn of_bytes(bytes: &[u8], start: u64) -> u16 {
    let mut sum = start;
    let mut pairs = bytes.chunks_exact(2);
    for pair in &mut pairs {
        sum += u64::from(u16::from_ne_bytes([pair[0], pair[1]]));
    }
    if let [last] = pairs.remainder() {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    !fold(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(of_bytes(&bytes, 0).to_ne_bytes(), [0x22, 0x0d]);
    }

    proptest! {
        #[test]
        fn a_difference_equals_the_full_sum(
            mut bytes in prop::collection::vec(any::<u8>(), 8..64),
            word in any::<u32>(),
            half in any::<u16>(),
        ) {
            // A packet always has a field that is not zero, which is what keeps the two zeroes of
            // ones' complement apart.
            let length = bytes.len() & !1;
            bytes.truncate(length);
            bytes[6] = 1;
            let before = of_bytes(&bytes, 0);
            let old_word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let old_half = u16::from_ne_bytes([bytes[4], bytes[5]]);
            bytes[..4].copy_from_slice(&word.to_ne_bytes());
            bytes[4..6].copy_from_slice(&half.to_ne_bytes());
            let difference = Difference::NONE.u32(old_word, word).u16(old_half, half);
            prop_assert_eq!(difference.apply(before), of_bytes(&bytes, 0));
        }

        #[test]
        fn folding_to_32_bits_changes_nothing(old in any::<[u32; 4]>(), new in any::<[u32; 4]>(), field in any::<u16>()) {
            let difference = Difference::NONE.words(&old, &new);
            prop_assert_eq!(!fold(u64::from(!field) + u64::from(difference.fold32())), difference.apply(field));
        }
    }
}
