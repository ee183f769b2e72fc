//! Reading a container's log file: from the end, from a time, whole, or on and on.

use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};
use tokio::sync::{mpsc, watch};

use super::line::{self, Stream};

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(100);
const CHUNK: u64 = 16 << 10;
/// Pieces are gathered up to this size.
const PIECE: usize = 32 << 10;

/// What part of a log is wanted, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wish {
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail_lines: Option<u64>,
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) stream: Option<Stream>,
}

/// Sends the wanted part. Following ends when `runs` says that the container no longer does, all is sent,
/// or nobody listens any more; a rotated file is read to its end, then the new one.
pub(crate) async fn read(
    path: &Path,
    wish: &Wish,
    pieces: &mpsc::Sender<Bytes>,
    runs: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut file = File::open(path).await?;
    let mut inode = file.metadata().await?.ino();
    if let Some(lines) = wish.tail_lines {
        let start = tail(&mut file, lines).await?;
        file.seek(SeekFrom::Start(start)).await?;
    }
    let mut file = BufReader::new(file);
    let mut format = Format::new(wish);
    let mut text = Vec::new();
    let mut ended = false;
    loop {
        let read = file.read_until(b'\n', &mut text).await?;
        if text.ends_with(b"\n") {
            let more = format.add(&text);
            text.clear();
            let is_full = format.out.len() >= PIECE || !more;
            if is_full && (pieces.send(format.take()).await.is_err() || !more) {
                return Ok(());
            }
            continue;
        }
        if read > 0 {
            continue;
        }
        if !format.out.is_empty() && pieces.send(format.take()).await.is_err() {
            return Ok(());
        }
        if !wish.follow || ended {
            return Ok(());
        }
        let now_there = tokio::fs::metadata(path).await.ok().map(|metadata| metadata.ino());
        if now_there.is_some_and(|now_there| now_there != inode) {
            file = BufReader::new(File::open(path).await?);
            inode = file.get_ref().metadata().await?.ino();
            continue;
        }
        // One more round after the end: what was written before it must be seen.
        ended = !*runs.borrow();
        tokio::select! {
            () = pieces.closed() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Where the last `lines` lines begin.
async fn tail(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let mut end = file.metadata().await?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut left = lines;
    let mut is_last = true;
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        file.seek(SeekFrom::Start(begin)).await?;
        let mut chunk = vec![0; usize::try_from(end - begin).unwrap_or(0)];
        file.read_exact(&mut chunk).await?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            // The end of the very last line begins no other.
            if *byte == b'\n' && !std::mem::take(&mut is_last) {
                left -= 1;
                if left == 0 {
                    return Ok(begin + u64::try_from(index).unwrap_or(0) + 1);
                }
            }
            is_last = false;
        }
        end = begin;
    }
    Ok(0)
}

/// Turns lines of the file into what is wanted of them.
struct Format<'a> {
    wish: &'a Wish,
    out: BytesMut,
    left: Option<u64>,
    begins: bool,
}

impl<'a> Format<'a> {
    fn new(wish: &'a Wish) -> Self {
        Self { wish, out: BytesMut::new(), left: wish.limit_bytes, begins: true }
    }

    /// False when no more is wanted.
    fn add(&mut self, text: &[u8]) -> bool {
        let Some(line) = line::parse(text) else { return true };
        if self.wish.stream.is_some_and(|stream| stream != line.stream) {
            return true;
        }
        if let Some(since) = self.wish.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return true;
        }
        if self.wish.timestamps && self.begins {
            self.put(line.time.as_bytes());
            self.put(b" ");
        }
        self.put(line.text);
        if line.is_whole {
            self.put(b"\n");
        }
        self.begins = line.is_whole;
        self.left != Some(0)
    }

    fn put(&mut self, bytes: &[u8]) {
        let most = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = &bytes[..bytes.len().min(most)];
        self.out.extend_from_slice(bytes);
        if let Some(left) = &mut self.left {
            *left -= u64::try_from(bytes.len()).unwrap_or(0);
        }
    }

    fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n\
                       2026-01-01T00:00:02Z stderr F two\n\
                       2026-01-01T00:00:03Z stdout P thr\n\
                       2026-01-01T00:00:03Z stdout F ee\n";

    async fn run(wish: Wish, text: &str) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let (pieces, mut receiver) = mpsc::channel(64);
        read(file.path(), &wish, &pieces, watch::channel(false).1).await.unwrap();
        drop(pieces);
        let mut out = Vec::new();
        while let Some(piece) = receiver.recv().await {
            out.extend_from_slice(&piece);
        }
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn parts_of_a_log() {
        let all = Wish::default();
        for (case, wish, expected) in [
            ("all", all.clone(), "one\ntwo\nthree\n"),
            ("tail", Wish { tail_lines: Some(3), ..all.clone() }, "two\nthree\n"),
            ("nothing of it", Wish { tail_lines: Some(0), ..all.clone() }, ""),
            (
                "more than there is",
                Wish { tail_lines: Some(9), ..all.clone() },
                "one\ntwo\nthree\n",
            ),
            ("limited", Wish { limit_bytes: Some(5), ..all.clone() }, "one\nt"),
            (
                "since",
                Wish { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..all.clone() },
                "three\n",
            ),
            ("one stream", Wish { stream: Some(Stream::Stderr), ..all.clone() }, "two\n"),
            (
                "times once per line",
                Wish { timestamps: true, tail_lines: Some(2), ..all.clone() },
                "2026-01-01T00:00:03Z three\n",
            ),
            ("followed to the end", Wish { follow: true, ..all }, "one\ntwo\nthree\n"),
        ] {
            assert_eq!(run(wish, LOG).await, expected, "{case}");
        }
    }

    #[tokio::test]
    async fn a_tail_longer_than_a_chunk() {
        let line = format!("2026-01-01T00:00:01Z stdout F {}\n", "x".repeat(9000));
        let text = line.repeat(5);
        let wish = Wish { tail_lines: Some(3), ..Wish::default() };
        assert_eq!(run(wish, &text).await.lines().count(), 3);
    }

    #[tokio::test]
    async fn a_rotated_file_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        std::fs::write(&path, "T stdout F old\n").unwrap();
        let (pieces, mut receiver) = mpsc::channel(64);
        let wish = Wish { follow: true, ..Wish::default() };
        let (sender, runs) = watch::channel(true);
        let at = path.clone();
        let reading = tokio::spawn(async move { read(&at, &wish, &pieces, runs).await });
        assert_eq!(receiver.recv().await.unwrap(), "old\n");
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        std::fs::write(&path, "T stdout F new\n").unwrap();
        assert_eq!(receiver.recv().await.unwrap(), "new\n");
        sender.send_replace(false);
        assert_eq!(receiver.recv().await, None);
        reading.await.unwrap().unwrap();
    }
}
