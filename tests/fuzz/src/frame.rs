//! Frames of any kind out of a few bytes, and what makes a frame sound: lengths that agree and checksums
//! that hold, computed here anew and not with the code under test.

use std::net::IpAddr;

use arbitrary::{Result, Unstructured};
use skep_abi::{Family, proto};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Protocols that frames are made of; the last is none that anything knows.
const PROTOCOLS: [u8; 8] =
    [proto::TCP, proto::UDP, proto::ICMP, proto::ICMPV6, proto::SCTP, IP_IN_IP, IPV6_IN_IP, 0xfd];
/// IPv4 in an outer header.
const IP_IN_IP: u8 = 4;
/// IPv6 in an outer header.
const IPV6_IN_IP: u8 = 41;
/// The fragment header of IPv6.
const FRAGMENT: u8 = 44;
/// IPv6's header of options for the destination.
const DESTINATION_OPTIONS: u8 = 60;
/// Time to live: that of a packet on its way, that of one at its end, and none.
const TTLS: [u8; 4] = [64, 2, 1, 0];
/// Types of control messages of both families: errors, echoes, and one that is neither.
const CONTROL: [u8; 9] = [0, 3, 8, 11, 1, 2, 128, 129, 200];

/// Addresses and ports of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<F: Family> {
    pub(crate) src: F::Addr,
    pub(crate) dst: F::Addr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
}

/// A whole frame between `ends`: sound, unless the bytes say that it is to be damaged.
pub(crate) fn frame<F: Family>(u: &mut Unstructured, ends: Ends<F>) -> Result<Vec<u8>> {
    let proto = *u.choose(&PROTOCOLS)?;
    let ttl = *u.choose(&TTLS)?;
    let segment = segment(u, &ends, proto)?;
    let mut bytes = packet(&ends, proto, ttl, &segment);
    match u.int_in_range(0..=7)? {
        0 => insert_options::<F>(&mut bytes),
        1 => make_piece::<F>(&mut bytes, *u.choose(&[0, 1, 2, 8])?),
        _ => {}
    }
    if u.ratio(1, 8)? {
        let at = u.choose_index(bytes.len())?;
        bytes[at] = u.arbitrary()?;
    }
    if u.ratio(1, 16)? {
        bytes.truncate(u.choose_index(bytes.len())?);
    }
    Ok(bytes)
}

/// Frames to begin with whose network headers are longer than usual.
pub(crate) fn longer<F: Family>(ends: Ends<F>) -> Vec<Vec<u8>> {
    let segment = [&ends.sport.to_be_bytes()[..], &ends.dport.to_be_bytes(), &[0, 24, 0, 0]];
    let whole = packet(&ends, proto::UDP, 64, &[segment.concat(), vec![0xa5; 16]].concat());
    let mut frames = vec![whole; 3];
    insert_options::<F>(&mut frames[0]);
    make_piece::<F>(&mut frames[1], 0);
    make_piece::<F>(&mut frames[2], 2);
    frames
}

/// Gives a whole frame an option that does nothing (IPv4) or an extension header of padding (IPv6).
fn insert_options<F: Family>(bytes: &mut Vec<u8>) {
    if F::VERSION == 4 {
        bytes.splice(ETHERNET + 20..ETHERNET + 20, [1; 4]);
        bytes[ETHERNET] = 0x46;
        lengthen(bytes, ETHERNET + 2, 4);
        seal_header(bytes, 24);
    } else {
        let proto = std::mem::replace(&mut bytes[ETHERNET + 6], DESTINATION_OPTIONS);
        bytes.splice(ETHERNET + 40..ETHERNET + 40, [proto, 0, 1, 4, 0, 0, 0, 0]);
        lengthen(bytes, ETHERNET + 4, 8);
    }
}

/// Makes a whole frame a piece, `units` of eight bytes behind the start of its packet; the first says that
/// more follow.
fn make_piece<F: Family>(bytes: &mut Vec<u8>, units: u16) {
    if F::VERSION == 4 {
        let field = if units == 0 { 0x2000 } else { units };
        bytes[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
        seal_header(bytes, 20);
    } else {
        let proto = std::mem::replace(&mut bytes[ETHERNET + 6], FRAGMENT);
        let [high, low] = (units << 3 | u16::from(units == 0)).to_be_bytes();
        bytes.splice(ETHERNET + 40..ETHERNET + 40, [proto, 0, high, low, 0, 0, 0, 7]);
        lengthen(bytes, ETHERNET + 4, 8);
    }
}

/// Adds to the length at `at`.
fn lengthen(bytes: &mut [u8], at: usize, more: u16) {
    let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + more;
    bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Sums up an IPv4 header anew.
fn seal_header(bytes: &mut [u8], header: usize) {
    bytes[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = !sum(&bytes[ETHERNET..ETHERNET + header]);
    bytes[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
}

/// The transport header and what it carries, without checksum.
fn segment<F: Family>(u: &mut Unstructured, ends: &Ends<F>, proto: u8) -> Result<Vec<u8>> {
    let payload = u.int_in_range(0..=32)?;
    let mut segment = [ends.sport.to_be_bytes(), ends.dport.to_be_bytes()].concat();
    match proto {
        proto::TCP => {
            segment.extend(u.arbitrary::<[u8; 8]>()?);
            segment.extend([0x50, u.arbitrary()?, 0xff, 0xff, 0, 0, 0, 0]);
        }
        proto::UDP => segment.extend([((8 + payload) as u16).to_be_bytes(), [0; 2]].concat()),
        proto::ICMP | proto::ICMPV6 => {
            segment = vec![*u.choose(&CONTROL)?, u.arbitrary()?, 0, 0];
            segment.extend(ends.sport.to_be_bytes());
            segment.extend(ends.dport.to_be_bytes());
            if u.arbitrary()? {
                // An error quotes a packet that went the other way.
                let quoted: Ends<F> =
                    Ends { src: ends.dst, dst: ends.src, sport: ends.dport, dport: ends.sport };
                let inner = *u.choose(&[proto::TCP, proto::UDP])?;
                let header = [quoted.sport.to_be_bytes(), quoted.dport.to_be_bytes()].concat();
                let header = [header, u.arbitrary::<[u8; 16]>()?.to_vec()].concat();
                segment.extend(&packet(&quoted, inner, 64, &header)[ETHERNET..]);
            }
        }
        IP_IN_IP | IPV6_IN_IP => {
            let header = [&segment[..], &u.arbitrary::<[u8; 16]>()?].concat();
            segment = packet(ends, *u.choose(&[proto::TCP, proto::UDP])?, 64, &header)[ETHERNET..]
                .to_vec();
            return Ok(segment);
        }
        _ => segment.extend(u.arbitrary::<[u8; 8]>()?),
    }
    segment.extend(std::iter::repeat_n(0xa5, payload));
    Ok(segment)
}

/// A frame around a segment, whose checksum is put in.
fn packet<F: Family>(ends: &Ends<F>, proto: u8, ttl: u8, segment: &[u8]) -> Vec<u8> {
    let length = segment.len() as u16;
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if F::VERSION == 4 {
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend((20 + length).to_be_bytes());
        bytes.extend([0, 7, 0x40, 0, ttl, proto, 0, 0]);
    } else {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([proto, ttl]);
    }
    for address in [ends.src, ends.dst] {
        bytes.extend(address.as_ref().iter().flat_map(|word| word.to_ne_bytes()));
    }
    if F::VERSION == 4 {
        seal_header(&mut bytes, 20);
    }
    let l4 = bytes.len();
    bytes.extend(segment);
    if let Some(at) = checksum_offset::<F>(proto)
        && let Some(segment_sum) = segment_sum::<F>(&bytes, l4, proto)
        && let Some(field) = bytes.get_mut(l4 + at..l4 + at + 2)
    {
        // To UDP a checksum of zero means that there is none.
        let sum = match !segment_sum {
            0 if proto == proto::UDP => u16::MAX,
            sum => sum,
        };
        field.copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Whether the frame is a whole packet of the family whose lengths agree and whose checksums hold, as
/// far as there are any.
pub(crate) fn is_sound<F: Family>(bytes: &[u8]) -> bool {
    sound::<F>(bytes).unwrap_or(false)
}

fn sound<F: Family>(bytes: &[u8]) -> Option<bool> {
    let network = bytes.get(ETHERNET..)?;
    let half = |at: usize| Some(u16::from_be_bytes(network.get(at..at + 2)?.try_into().ok()?));
    let (mut header, whole, mut proto) = if F::VERSION == 4 {
        (usize::from(*network.first()? & 0xf) * 4, usize::from(half(2)?), *network.get(9)?)
    } else {
        (40, 40 + usize::from(half(4)?), *network.get(6)?)
    };
    if network.first()? >> 4 != F::VERSION || header < 20 || whole != network.len() {
        return Some(false);
    }
    if F::VERSION == 4 {
        if sum(network.get(..header)?) != u16::MAX {
            return Some(false);
        }
        let is_fragment = half(6)? & 0x3fff != 0;
        if is_fragment {
            return Some(true);
        }
    }
    while F::VERSION == 6 && [FRAGMENT, DESTINATION_OPTIONS].contains(&proto) {
        let is_piece = proto == FRAGMENT && half(header + 2)? & 0xfff9 != 0;
        if is_piece {
            return Some(true);
        }
        let units = if proto == FRAGMENT { 0 } else { *network.get(header + 1)? };
        proto = *network.get(header)?;
        header += (usize::from(units) + 1) * 8;
    }
    let l4 = ETHERNET + header;
    let Some(at) = checksum_offset::<F>(proto) else { return Some(true) };
    let field = bytes.get(l4 + at..l4 + at + 2)?;
    if proto == proto::UDP && field == [0, 0] {
        return Some(true);
    }
    Some(segment_sum::<F>(bytes, l4, proto)? == u16::MAX)
}

/// Where in a segment the checksum is, if it has one that the datapath has to keep.
fn checksum_offset<F: Family>(proto: u8) -> Option<usize> {
    match (proto, F::VERSION) {
        (proto::TCP, _) => Some(16),
        (proto::UDP, _) => Some(6),
        (proto::ICMP, 4) | (proto::ICMPV6, 6) => Some(2),
        _ => None,
    }
}

/// The sum over a segment and its pseudo header.
fn segment_sum<F: Family>(bytes: &[u8], l4: usize, proto: u8) -> Option<u16> {
    let segment = bytes.get(l4..)?;
    let mut covered = Vec::new();
    if proto != proto::ICMP {
        let addresses = if F::VERSION == 4 { 12..20 } else { 8..40 };
        covered.extend(bytes.get(ETHERNET..)?.get(addresses)?);
        covered.extend((segment.len() as u32).to_be_bytes());
        covered.extend(u32::from(proto).to_be_bytes());
    }
    covered.extend(segment);
    Some(sum(&covered))
}

/// The ones' complement sum of RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Address number `host` in network number `net`.
pub(crate) fn address<F: Family>(net: u8, host: u8) -> F::Addr {
    let ip = if F::VERSION == 4 {
        IpAddr::from([10, 0, net, host])
    } else {
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, u16::from(net), u16::from(host)])
    };
    F::addr_from_ip(ip).expect("the address is of the family")
}

#[cfg(test)]
mod tests {
    use skep_abi::{V4, V6};

    use super::*;

    fn tcp<F: Family>() -> Vec<u8> {
        let ends =
            Ends::<F> { src: address::<F>(1, 2), dst: address::<F>(3, 4), sport: 5, dport: 6 };
        let segment = [&[0, 5, 0, 6][..], &[0; 8], &[0x50, 2, 0, 1, 0, 0, 0, 0], b"abc"].concat();
        packet(&ends, proto::TCP, 64, &segment)
    }

    fn damage_is_seen<F: Family>() {
        let whole = tcp::<F>();
        assert!(is_sound::<F>(&whole));
        for at in ETHERNET + 12..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(!is_sound::<F>(&damaged), "byte {at}");
        }
        assert!(!is_sound::<F>(&whole[..whole.len() - 1]));
    }

    #[test]
    fn a_frame_is_sound_until_a_byte_changes() {
        damage_is_seen::<V4>();
        damage_is_seen::<V6>();
    }

    #[test]
    fn the_checksum_is_the_one_of_a_known_packet() {
        // RFC 1071, section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }
}
