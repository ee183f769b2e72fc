//! Header blocks. SPDY compresses them with zlib and a preset dictionary; zlib also has stored blocks,
//! so that what is written here is correct for every reader and needs no compressor.

use bytes::{BufMut, BytesMut};

/// Deflate, 32 KiB window, preset dictionary; then the Adler-32 of SPDY/3's dictionary.
const ZLIB_HEADER: [u8; 6] = [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2];
/// A stored block of nothing: makes the reader give out what it has.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// Writes the header blocks of one connection, which share one zlib stream.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    begun: bool,
}

impl Blocks {
    /// One block. Names are lower case; all of it must fit one stored block (65,535 bytes).
    pub(super) fn write(&mut self, headers: &[(&str, &str)], out: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            out.put_slice(&ZLIB_HEADER);
        }
        let mut plain = BytesMut::new();
        let length = |text: &str| u32::try_from(text.len()).expect("headers here are short");
        plain.put_u32(u32::try_from(headers.len()).expect("headers here are few"));
        for (name, value) in headers {
            plain.put_u32(length(name));
            plain.put_slice(name.as_bytes());
            plain.put_u32(length(value));
            plain.put_slice(value.as_bytes());
        }
        let size = u16::try_from(plain.len()).expect("headers here fit one block");
        out.put_u8(0);
        out.put_u16_le(size);
        out.put_u16_le(!size);
        out.put_slice(&plain);
        out.put_slice(&FLUSH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_one_stream() {
        let mut blocks = Blocks::default();
        let mut out = BytesMut::new();
        blocks.write(&[("streamtype", "stdin")], &mut out);
        assert_eq!(out[..6], ZLIB_HEADER);
        assert_eq!(u16::from_be_bytes([out[0], out[1]]) % 31, 0, "zlib's own check");
        let first = out.split();
        blocks.write(&[("streamtype", "stdin")], &mut out);
        assert_eq!(first[6..], out[..]);
        assert_eq!(out[..5], [0, 27, 0, !27, 0xff]);
        assert_eq!(out[5..9], [0, 0, 0, 1]);
    }
}
