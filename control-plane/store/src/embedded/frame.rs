//! The frame around everything that goes to disk: 16 bytes of header (magic, length, payload CRC, header
//! CRC), then the payload. A frame is one synced batch, so it is on disk whole or it was never acknowledged.

use std::io::{self, Read};

const MAGIC: [u8; 4] = *b"SKF1";
pub(super) const HEADER_BYTES: usize = 16;
/// More than any batch the writer makes: a length above it is damage, not data.
const MAX_PAYLOAD_BYTES: u32 = 256 << 20;

/// Appends the payload that `fill` writes, framed, to `out`.
pub(super) fn append(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.resize(at + HEADER_BYTES, 0);
    fill(out);
    let payload = &out[at + HEADER_BYTES..];
    let length = u32::try_from(payload.len()).expect("a batch is bounded far below 4 GiB");
    let checksum = crc32fast::hash(payload);
    let header = &mut out[at..at + HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..12].copy_from_slice(&checksum.to_le_bytes());
    let header_checksum = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&header_checksum.to_le_bytes());
}

/// What stands at one place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole frame's payload.
    Whole(Vec<u8>),
    /// The file ends here.
    End,
    /// Bytes that are no frame.
    Broken(&'static str),
}

/// Reads the frame at the reader's place.
pub(super) fn read(input: &mut impl Read) -> io::Result<Frame> {
    let mut header = [0; HEADER_BYTES];
    match read_full(input, &mut header)? {
        0 => return Ok(Frame::End),
        HEADER_BYTES => {}
        _ => return Ok(Frame::Broken("the frame's header is cut short")),
    }
    let Some((length, checksum)) = parse_header(&header) else {
        return Ok(Frame::Broken("no frame begins here"));
    };
    let mut payload = vec![0; length as usize];
    if read_full(input, &mut payload)? < payload.len() {
        return Ok(Frame::Broken("the frame is cut short"));
    }
    if crc32fast::hash(&payload) != checksum {
        return Ok(Frame::Broken("the frame's checksum does not match"));
    }
    Ok(Frame::Whole(payload))
}

/// Whether a whole frame begins anywhere in `bytes`: then what stands before it was acknowledged once.
pub(super) fn contains_whole(bytes: &[u8]) -> bool {
    bytes.windows(HEADER_BYTES).enumerate().any(|(at, header)| {
        parse_header(header).is_some_and(|(length, checksum)| {
            let payload = &bytes[at + HEADER_BYTES..];
            payload
                .get(..length as usize)
                .is_some_and(|payload| crc32fast::hash(payload) == checksum)
        })
    })
}

fn parse_header(header: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| {
        u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes of a 16-byte header"))
    };
    let intact = header[..4] == MAGIC && crc32fast::hash(&header[..12]) == word(12);
    (intact && word(4) <= MAX_PAYLOAD_BYTES).then(|| (word(4), word(8)))
}

fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, |out| out.extend_from_slice(payload));
        out
    }

    #[test]
    fn a_frame_reads_back_whole() {
        let bytes = framed(b"hello");
        let mut input = &bytes[..];
        assert_eq!(read(&mut input).unwrap(), Frame::Whole(b"hello".to_vec()));
        assert_eq!(read(&mut input).unwrap(), Frame::End);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let bytes = framed(b"hello");
        for cut in 1..bytes.len() {
            assert!(matches!(read(&mut &bytes[..cut]).unwrap(), Frame::Broken(_)), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&mut &damaged[..]).unwrap(), Frame::Broken(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_whole_frame_is_found_behind_damage() {
        let mut bytes = b"damage".to_vec();
        assert!(!contains_whole(&bytes));
        bytes.extend(framed(b"acknowledged"));
        assert!(contains_whole(&bytes));
        assert!(!contains_whole(&bytes[..bytes.len() - 1]));
    }
}
