//! Maglev tables: which backend stands in each slot of a Service's run.
//!
//! Every node computes the same table from the same backends, whatever ids it gave them, and when a
//! backend comes or goes few slots of the others move (Eisenbud et al., NSDI 2016, section 3.4).

use std::net::{IpAddr, SocketAddr};

/// Primes just below powers of two, so that runs waste little of the arena's blocks. Each serves up
/// to a hundredth as many backends; a single backend needs one slot.
const SIZES: [u32; 11] =
    [251, 509, 1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_521, 131_071, 262_139];

/// What is left when there is no room for fair shares.
const SMALL_SIZES: [u32; 6] = [3, 7, 13, 31, 61, 127];

/// Slots that each backend should have at least, so that shares differ by about one part in a hundred.
const SLOTS_PER_BACKEND: u32 = 100;

/// Slots in the table of this many backends; at most 2^18.
pub fn table_size(backends: usize) -> u32 {
    match u32::try_from(backends).unwrap_or(u32::MAX) {
        0 => 0,
        1 => 1,
        count => {
            let fits = |&&size: &&u32| size / SLOTS_PER_BACKEND >= count;
            SIZES.iter().find(fits).copied().unwrap_or(SIZES[SIZES.len() - 1])
        }
    }
}

/// The next smaller table that still names all of the backends, for when there is no room: uneven
/// shares are better than no Service. 0 when there is none.
pub fn smaller(size: u32, backends: usize) -> u32 {
    let sizes = SMALL_SIZES.iter().chain(&SIZES).rev().copied();
    let mut smaller = sizes.skip_while(|&candidate| candidate >= size);
    smaller.next().filter(|&candidate| candidate as usize >= backends).unwrap_or(0)
}

/// The table of `size` slots, a prime of [`table_size`] or 1; each slot has an index into
/// `backends`. Without backends it is empty.
pub fn table(backends: &[SocketAddr], size: u32) -> Vec<u32> {
    const EMPTY: u32 = u32::MAX;
    if backends.len() < 2 || size < 2 {
        return if backends.is_empty() { Vec::new() } else { vec![0; size as usize] };
    }
    let mut walks: Vec<Walk> = backends.iter().map(|address| Walk::new(address, size)).collect();
    let mut slots = vec![EMPTY; size as usize];
    let mut left = size;
    loop {
        for (index, walk) in (0..).zip(&mut walks) {
            // A walk visits every slot of a prime table, so it finds one while any is left.
            let mut at = walk.step(size);
            while slots[at as usize] != EMPTY {
                at = walk.step(size);
            }
            slots[at as usize] = index;
            left -= 1;
            if left == 0 {
                return slots;
            }
        }
    }
}

/// One backend's order of preference over the slots.
struct Walk {
    next: u32,
    skip: u32,
}

impl Walk {
    fn new(address: &SocketAddr, size: u32) -> Self {
        let hash = hash(address);
        let [offset, skip] = [hash >> 32, hash & 0xffff_ffff];
        let [offset, skip] = [offset % u64::from(size), skip % u64::from(size - 1) + 1];
        // Both are below `size`, which is a u32.
        Self { next: offset as u32, skip: skip as u32 }
    }

    fn step(&mut self, size: u32) -> u32 {
        let at = self.next;
        self.next += self.skip;
        if self.next >= size {
            self.next -= size;
        }
        at
    }
}

/// The same on every node and in every version: a changed hash would move every connection that a
/// router hands from one node to another.
fn hash(address: &SocketAddr) -> u64 {
    let (high, low) = match address.ip() {
        IpAddr::V4(ip) => (4, u64::from(ip.to_bits())),
        IpAddr::V6(ip) => ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64),
    };
    mix(mix(mix(high) ^ low) ^ u64::from(address.port()))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(count: u16) -> Vec<SocketAddr> {
        (0..count).map(|n| SocketAddr::from(([10, 244, (n >> 8) as u8, n as u8], 8080))).collect()
    }

    fn shares(table: &[u32], backends: usize) -> Vec<u32> {
        let mut shares = vec![0; backends];
        table.iter().for_each(|&index| shares[index as usize] += 1);
        shares
    }

    #[test]
    fn sizes_fit_the_backends() {
        for (backends, size) in
            [(0, 0), (1, 1), (2, 251), (3, 509), (10, 1_021), (11, 2_039), (5_000, 262_139)]
        {
            assert_eq!(table_size(backends), size, "{backends} backends");
        }
    }

    #[test]
    fn without_room_tables_shrink_as_far_as_all_backends_fit() {
        assert_eq!(smaller(1_021, 10), 509);
        assert_eq!(smaller(251, 10), 127);
        assert_eq!(smaller(13, 10), 0);
        assert_eq!(smaller(1, 1), 0);
    }

    #[test]
    fn every_backend_gets_its_share() {
        for count in [2, 3, 10, 100, 1_000] {
            let backends = backends(count);
            let size = table_size(backends.len());
            let shares = shares(&table(&backends, size), backends.len());
            let fair = size / u32::from(count);
            for share in shares {
                assert!(share.abs_diff(fair) <= 1 + fair / 50, "{share} of {fair}, {count}");
            }
        }
    }

    #[test]
    fn few_slots_move_when_a_backend_goes() {
        let before = backends(10);
        let mut after = before.clone();
        after.remove(4);
        let size = table_size(before.len());
        let (old, new) = (table(&before, size), table(&after, size));
        let moved = old
            .iter()
            .zip(&new)
            .filter(|&(&o, &n)| o != 4 && before[o as usize] != after[n as usize])
            .count();
        assert!(moved < size as usize / 10, "{moved} of {size} moved");
    }

    #[test]
    fn one_backend_fills_any_table() {
        assert_eq!(table(&backends(1), 1), [0]);
        assert_eq!(table(&backends(0), 0), [] as [u32; 0]);
    }
}
