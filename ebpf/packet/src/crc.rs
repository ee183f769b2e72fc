//! SCTP's checksum, CRC32c (RFC 9260, appendix A), by difference: it is linear, so a change of the ports
//! changes it by the checksum of the change alone, shifted by the bytes behind it.

/// The polynomial, its lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What 2^k bytes of zeroes make of a checksum, a nibble at a time: `SHIFTS[k][n][v]` is for nibble `n`
/// of value `v`, and the nibbles add up. No step of it needs a branch, of which the kernel's verifier
/// would walk both sides.
static SHIFTS: [[[u32; 16]; 8]; 16] = shifts();

const fn shifts() -> [[[u32; 16]; 8]; 16] {
    let mut shifts = [[[0; 16]; 8]; 16];
    // x to the power of 8; the lowest power is the highest bit.
    let mut power = 1 << 23;
    let mut k = 0;
    while k < 16 {
        let mut nibble = 0;
        while nibble < 8 {
            let mut value = 0;
            while value < 16 {
                shifts[k][nibble][value] = multiply(power, (value as u32) << (4 * nibble));
                value += 1;
            }
            nibble += 1;
        }
        power = multiply(power, power);
        k += 1;
    }
    shifts
}

/// The product modulo the polynomial.
const fn multiply(left: u32, mut right: u32) -> u32 {
    let (mut product, mut bit) = (0, 0);
    while bit < 32 {
        if left >> (31 - bit) & 1 != 0 {
            product ^= right;
        }
        right = if right & 1 == 0 { right >> 1 } else { right >> 1 ^ POLYNOMIAL };
        bit += 1;
    }
    product
}

/// What the checksum of a packet of `len` bytes, as it stands in the field, changes by when the first 4
/// bytes change by `difference` (both: old and new, exclusively or'd).
#[inline(always)]
pub fn of_change(difference: [u8; 4], len: u16) -> u32 {
    let mut change = u32::from_le_bytes(difference);
    for (k, shift) in SHIFTS.iter().enumerate() {
        if len >> k & 1 == 0 {
            continue;
        }
        let mut shifted = 0;
        for (nibble, values) in shift.iter().enumerate() {
            shifted ^= values[(change >> (4 * nibble)) as usize & 15];
        }
        change = shifted;
    }
    change.to_le()
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
            let after = before ^ of_change(difference, bytes.len() as u16);
            prop_assert_eq!(after, of_bytes(&bytes));
        }
    }
}
