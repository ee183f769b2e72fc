//! SCTP's checksum, CRC32c (RFC 9260, appendix A), by difference: it is linear, so a change of the ports
//! changes it by the checksum of the change alone, shifted by the bytes behind it.

/// The polynomial, its lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `SHIFTS[k]` is x to the power of 8 * 2^k: what 2^k bytes of zeroes multiply a checksum by.
const SHIFTS: [u32; 16] = shifts();

const fn shifts() -> [u32; 16] {
    let mut shifts = [0; 16];
    // x to the power of 8; the lowest power is the highest bit.
    shifts[0] = 1 << 23;
    let mut number = 1;
    while number < 16 {
        shifts[number] = multiply(shifts[number - 1], shifts[number - 1]);
        number += 1;
    }
    shifts
}

/// The product modulo the polynomial. Without a branch, so that the verifier walks it once.
#[inline(always)]
const fn multiply(left: u32, mut right: u32) -> u32 {
    let (mut product, mut bit) = (0, 0);
    while bit < 32 {
        product ^= right & 0_u32.wrapping_sub(left >> (31 - bit) & 1);
        right = right >> 1 ^ POLYNOMIAL & 0_u32.wrapping_sub(right & 1);
        bit += 1;
    }
    product
}

/// The checksum that takes the place of `checksum`, as it stands in the field, when the first 4 bytes of
/// a packet of `len` bytes change by `difference` (old and new, exclusively or'd).
#[inline(always)]
pub(crate) fn apply(checksum: u32, difference: [u8; 4], len: u16) -> u32 {
    let mut change = u32::from_le_bytes(difference);
    let mut number = 0;
    while number < 16 {
        if len >> number & 1 != 0 {
            change = multiply(SHIFTS[number], change);
        }
        number += 1;
    }
    checksum ^ change.to_le()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The checksum in full, bit by bit, as it stands in the field.
    fn of_bytes(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ POLYNOMIAL };
            }
        }
        (!crc).to_le()
    }

    #[test]
    fn the_checksum_of_the_digits_is_the_published_one() {
        assert_eq!(of_bytes(b"123456789"), 0xe306_9283_u32.to_le());
    }

    proptest! {
        // The full checksum is slow, bit by bit.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_difference_equals_the_full_checksum(
            mut bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 4..2_000),
                prop::collection::vec(any::<u8>(), 60_000..=65_535),
            ],
            new in any::<[u8; 4]>(),
        ) {
            let before = of_bytes(&bytes);
            let difference = std::array::from_fn(|place| bytes[place] ^ new[place]);
            bytes[..4].copy_from_slice(&new);
            let after = apply(before, difference, bytes.len() as u16);
            prop_assert_eq!(after, of_bytes(&bytes));
        }
    }
}
