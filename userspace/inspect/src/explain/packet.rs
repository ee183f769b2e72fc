//! The packet that is sent through the programs: the first of a connection.

use skep_abi::{Family, proto};
use skep_packet::checksum::{of_bytes, sum_words};

/// Time to live of made packets.
const TTL: u8 = 64;

/// Address and port, in the machine's byte order, of one side.
pub(crate) type Side<F> = (<F as Family>::Addr, u16);

/// An Ethernet frame with the first packet of a connection: a TCP SYN, a UDP datagram or an SCTP INIT.
pub(crate) fn first<F: Family>(src: Side<F>, dst: Side<F>, protocol: u8) -> Vec<u8> {
    let segment = segment::<F>(src, dst, protocol);
    let mut frame = vec![0; 12];
    if F::VERSION == 4 {
        frame.extend([0x08, 0x00]);
        let mut header = vec![0x45, 0];
        header.extend((20 + segment.len() as u16).to_be_bytes());
        header.extend([0, 0, 0x40, 0, TTL, protocol, 0, 0]);
        header.extend(bytes(src.0.as_ref()));
        header.extend(bytes(dst.0.as_ref()));
        let checksum = of_bytes(&header, 0);
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        frame.extend(header);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((segment.len() as u16).to_be_bytes());
        frame.extend([protocol, TTL]);
        frame.extend(bytes(src.0.as_ref()));
        frame.extend(bytes(dst.0.as_ref()));
    }
    frame.extend(segment);
    frame
}

fn segment<F: Family>(src: Side<F>, dst: Side<F>, protocol: u8) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(src.1.to_be_bytes());
    segment.extend(dst.1.to_be_bytes());
    let checksum_at = match protocol {
        proto::TCP => {
            // Sequence number 1, a SYN, a header of five words, a window of 64 KiB less one.
            segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
            Some(16)
        }
        proto::UDP => {
            segment.extend([0, 16, 0, 0]);
            segment.extend(b"explain?");
            Some(6)
        }
        // Tag, checksum (which no program looks at), an INIT chunk of 20 bytes.
        _ => {
            segment.extend([0; 8]);
            segment.extend([1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
            None
        }
    };
    if let Some(at) = checksum_at {
        let pseudo = sum_words(src.0.as_ref())
            + sum_words(dst.0.as_ref())
            + u64::from(u16::from_ne_bytes([0, protocol]))
            + u64::from((segment.len() as u16).to_be());
        let checksum = of_bytes(&segment, pseudo);
        segment[at..at + 2].copy_from_slice(&checksum.to_ne_bytes());
    }
    segment
}

fn bytes(words: &[u32]) -> impl Iterator<Item = u8> + '_ {
    words.iter().flat_map(|word| word.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_abi::{V4, V6};
    use skep_packet::{Headers, Wire, host::HostPacket, parse};

    fn parses<F: Wire>(src: F::Addr, dst: F::Addr) {
        for protocol in [proto::TCP, proto::UDP] {
            let frame = HostPacket(first::<F>((src, 4000), (dst, 80), protocol));
            let headers: Headers<F> = parse(&frame).expect("well formed");
            assert_eq!((headers.src, headers.dst, headers.proto), (src, dst, protocol));
            assert_eq!(headers.dport_be, 80_u16.to_be());
            assert!(headers.opens(), "{protocol} opens a connection");
        }
    }

    #[test]
    fn the_datapath_sees_the_opening_of_a_connection() {
        parses::<V4>([0x0100_000a], [0x0200_000a]);
        parses::<V6>([1, 2, 3, 4], [5, 6, 7, 8]);
    }
}
