//! The two address families as types, so that every packet table exists once in source and twice in
//! the kernel, with keys no larger than each family needs.

use core::fmt::Debug;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family: IPv4 ([`V4`]) or IPv6 ([`V6`]).
pub trait Family: Copy + Clone + Debug + Default + PartialEq + Eq + 'static {
    /// An address: its 32-bit words, each as it lies on the wire.
    type Addr: Copy + Debug + Default + PartialEq + Eq + AsRef<[u32]> + AsMut<[u32]> + 'static;
    /// What fills a record of `u64`, address and `u32` up to 8 bytes: nothing (IPv4) or 4 bytes (IPv6).
    type Pad4: Copy + Debug + Default + PartialEq + Eq + 'static;
    /// 4 or 6.
    const VERSION: u8;
    /// Words in an address.
    const WORDS: usize;

    /// The address as its words.
    fn addr_from_ip(ip: IpAddr) -> Option<Self::Addr>;
    /// The words as an address.
    fn addr_to_ip(addr: Self::Addr) -> IpAddr;
}

/// IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V6;

impl Family for V4 {
    type Addr = [u32; 1];
    type Pad4 = [u32; 0];
    const VERSION: u8 = 4;
    const WORDS: usize = 1;

    fn addr_from_ip(ip: IpAddr) -> Option<[u32; 1]> {
        match ip {
            IpAddr::V4(ip) => Some([u32::from_ne_bytes(ip.octets())]),
            IpAddr::V6(_) => None,
        }
    }

    fn addr_to_ip(addr: [u32; 1]) -> IpAddr {
        Ipv4Addr::from(addr[0].to_ne_bytes()).into()
    }
}

impl Family for V6 {
    type Addr = [u32; 4];
    type Pad4 = [u32; 1];
    const VERSION: u8 = 6;
    const WORDS: usize = 4;

    fn addr_from_ip(ip: IpAddr) -> Option<[u32; 4]> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => {
                let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = ip.octets();
                Some([
                    u32::from_ne_bytes([a0, a1, a2, a3]),
                    u32::from_ne_bytes([b0, b1, b2, b3]),
                    u32::from_ne_bytes([c0, c1, c2, c3]),
                    u32::from_ne_bytes([d0, d1, d2, d3]),
                ])
            }
        }
    }

    fn addr_to_ip(addr: [u32; 4]) -> IpAddr {
        let mut octets = [0; 16];
        for (to, word) in octets.chunks_exact_mut(4).zip(addr) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).into()
    }
}

/// An address of either family in the four words that family-independent records (events) hold:
/// IPv4 in the first word, the rest zero.
#[inline(always)]
pub fn addr_to_v6_words<F: Family>(addr: &F::Addr) -> [u32; 4] {
    let words = addr.as_ref();
    if F::WORDS == 4 { [words[0], words[1], words[2], words[3]] } else { [words[0], 0, 0, 0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for ip in ["10.96.0.1", "255.255.255.255", "fd00::1", "2001:db8:1:2:3:4:5:6"] {
            let ip: IpAddr = ip.parse().expect("a literal address");
            let back = match ip {
                IpAddr::V4(_) => V4::addr_from_ip(ip).map(V4::addr_to_ip),
                IpAddr::V6(_) => V6::addr_from_ip(ip).map(V6::addr_to_ip),
            };
            assert_eq!(back, Some(ip));
        }
    }

    #[test]
    fn an_address_of_the_other_family_is_refused() {
        assert_eq!(V4::addr_from_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)), None);
        assert_eq!(V6::addr_from_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }
}
