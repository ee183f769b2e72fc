//! Frames: what is sent is written by functions, what comes is decoded.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::headers::Blocks;

const VERSION: u16 = 0x8003;
const HEADER: usize = 8;
/// More than any server sends at once.
const MOST: usize = 1 << 20;

const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
const FIN: u8 = 1;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Frame {
    /// Bytes of a stream, and whether they are its last.
    Data { stream: u32, last: bool, bytes: Bytes },
    /// A stream ended in error.
    Reset { stream: u32 },
    /// To be sent back as it is.
    Ping { id: u32 },
    /// The server will take no more streams.
    GoAway,
    /// Answers to openings, settings, windows: nothing depends on them.
    Other,
}

/// Cuts a byte stream into frames.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = std::io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> std::io::Result<Option<Frame>> {
        let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let header = *header;
        let word = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let flags = header[4];
        let length = u32::from_be_bytes([0, header[5], header[6], header[7]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(std::io::Error::other(format!("a frame of {length} bytes is too long")));
        }
        if buffer.len() < HEADER + length {
            buffer.reserve(HEADER + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEADER);
        let mut payload = buffer.split_to(length).freeze();
        if word >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: word, last: flags & FIN != 0, bytes: payload }));
        }
        let kind = u16::try_from(word & 0xffff).unwrap_or(0);
        let mut number = || if payload.len() >= 4 { payload.get_u32() } else { 0 };
        Ok(Some(match kind {
            RST_STREAM => Frame::Reset { stream: number() },
            PING => Frame::Ping { id: number() },
            GO_AWAY => Frame::GoAway,
            _ => Frame::Other,
        }))
    }
}

/// Opens streams; ids are odd and grow.
#[derive(Debug)]
pub(in crate::server) struct Opener {
    blocks: Blocks,
    next: u32,
}

impl Default for Opener {
    fn default() -> Self {
        Self { blocks: Blocks::default(), next: 1 }
    }
}

impl Opener {
    /// Writes the frame that opens a stream; its id.
    pub(in crate::server) fn open(&mut self, headers: &[(&str, &str)], out: &mut BytesMut) -> u32 {
        let stream = self.next;
        self.next += 2;
        let mut block = BytesMut::new();
        self.blocks.write(headers, &mut block);
        control(SYN_STREAM, 10 + block.len(), out);
        out.put_u32(stream);
        out.put_u32(0); // no associated stream
        out.put_u16(0); // highest priority, no credential slot
        out.put_slice(&block);
        stream
    }
}

/// Writes bytes of a stream; `last` ends our half of it.
pub(in crate::server) fn data(stream: u32, last: bool, bytes: &[u8], out: &mut BytesMut) {
    out.put_u32(stream);
    put_length(if last { FIN } else { 0 }, bytes.len(), out);
    out.put_slice(bytes);
}

/// Writes the answer to a ping.
pub(in crate::server) fn pong(id: u32, out: &mut BytesMut) {
    control(PING, 4, out);
    out.put_u32(id);
}

fn control(kind: u16, length: usize, out: &mut BytesMut) {
    out.put_u16(VERSION);
    out.put_u16(kind);
    put_length(0, length, out);
}

fn put_length(flags: u8, length: usize, out: &mut BytesMut) {
    let length = u32::try_from(length).expect("callers send less than 16 MiB at once");
    out.put_u32(u32::from(flags) << 24 | length & 0x00ff_ffff);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back() {
        let mut bytes = BytesMut::new();
        data(3, false, b"ab", &mut bytes);
        data(5, true, b"", &mut bytes);
        pong(7, &mut bytes);
        Opener::default().open(&[("a", "b")], &mut bytes);
        control(RST_STREAM, 8, &mut bytes);
        bytes.put_u32(3);
        bytes.put_u32(1);
        let expected = [
            Frame::Data { stream: 3, last: false, bytes: Bytes::from_static(b"ab") },
            Frame::Data { stream: 5, last: true, bytes: Bytes::new() },
            Frame::Ping { id: 7 },
            Frame::Other,
            Frame::Reset { stream: 3 },
        ];
        let mut seen = Vec::new();
        // One byte at a time: no frame depends on where the network cuts.
        let mut buffer = BytesMut::new();
        for byte in bytes {
            buffer.put_u8(byte);
            seen.extend(Frames.decode(&mut buffer).unwrap());
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn ids_are_odd() {
        let mut opener = Opener::default();
        let mut out = BytesMut::new();
        assert_eq!([opener.open(&[], &mut out), opener.open(&[], &mut out)], [1, 3]);
    }

    #[test]
    fn an_endless_frame_is_refused() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]);
        assert!(Frames.decode(&mut buffer).is_err());
    }
}
