//! A set of small numbers, and addresses as numbers within their range.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Which of `0..length` are taken.
#[derive(Debug)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    length: usize,
}

impl Bitmap {
    pub(super) fn new(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(64)], length }
    }

    fn has(&self, number: usize) -> bool {
        self.words[number / 64] & (1 << (number % 64)) != 0
    }

    /// Takes a number; false when it was taken already.
    pub(super) fn take(&mut self, number: usize) -> bool {
        let free = number < self.length && !self.has(number);
        if free {
            self.words[number / 64] |= 1 << (number % 64);
        }
        free
    }

    pub(super) fn free(&mut self, number: usize) {
        if number < self.length {
            self.words[number / 64] &= !(1 << (number % 64));
        }
    }

    /// Takes some number: from the upper part of the range first, beginning anywhere in it (`seed`),
    /// so that the lower part stays free for those who choose for themselves.
    pub(super) fn take_any(&mut self, seed: usize) -> Option<usize> {
        // Upstream's split: a sixteenth of the range, between 16 and 256 numbers, and nothing of a small one.
        let lower = if self.length < 16 { 0 } else { (self.length / 16).clamp(16, 256) };
        let lower = lower.min(self.length);
        let upper = self.length - lower;
        let above = (0..upper).map(|step| lower + (seed.wrapping_add(step)) % upper.max(1));
        let number = above.chain(0..lower).find(|&number| !self.has(number))?;
        self.take(number);
        Some(number)
    }
}

/// The address at this place of the range.
pub(super) fn nth_address(range: IpNet, offset: usize) -> IpAddr {
    match range {
        IpNet::V4(range) => {
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            Ipv4Addr::from_bits(range.network().to_bits().wrapping_add(offset)).into()
        }
        IpNet::V6(range) => {
            Ipv6Addr::from_bits(range.network().to_bits().wrapping_add(offset as u128)).into()
        }
    }
}

/// The place of an address in the range.
pub(super) fn offset_of(range: IpNet, address: IpAddr) -> Option<usize> {
    match (range, address) {
        (IpNet::V4(range), IpAddr::V4(address)) if range.contains(&address) => {
            usize::try_from(address.to_bits() - range.network().to_bits()).ok()
        }
        (IpNet::V6(range), IpAddr::V6(address)) if range.contains(&address) => {
            usize::try_from(address.to_bits() - range.network().to_bits()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once() {
        for length in [4, 100, 1000] {
            let mut bitmap = Bitmap::new(length);
            let mut given: Vec<usize> =
                std::iter::from_fn(|| bitmap.take_any(length * 7 / 3)).collect();
            assert!(length < 100 || given[0] >= 16, "the lower part is kept for last");
            given.sort_unstable();
            assert_eq!(given, (0..length).collect::<Vec<_>>());
            bitmap.free(3);
            assert_eq!(bitmap.take_any(0), Some(3));
        }
    }

    #[test]
    fn addresses_and_places_match() {
        for range in ["10.96.0.0/16", "fd00:10:96::/112"] {
            let range: IpNet = range.parse().unwrap();
            assert_eq!(offset_of(range, nth_address(range, 300)), Some(300));
        }
        let range = "10.96.0.0/16".parse().unwrap();
        assert_eq!(nth_address(range, 1).to_string(), "10.96.0.1");
        assert_eq!(offset_of(range, "10.97.0.1".parse().unwrap()), None);
        assert_eq!(offset_of(range, "::1".parse().unwrap()), None);
    }
}
