//! One file of the log: appended to and synced a batch at a time, read back frame by frame.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::files;
use super::frame::{self, Frame, HEADER_BYTES};
use super::record::{self, Record};
use crate::{Error, Result, Revision};

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
}

impl Segment {
    /// Begins the segment of what happens after `revision`.
    pub(super) fn create(folder: &Path, revision: Revision) -> Result<Self> {
        let path = files::path(folder, revision, files::SEGMENT);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(Error::io(format!("create {}", path.display())))?;
        files::sync_folder(folder)?;
        Ok(Self { file, path })
    }

    /// Writes one framed batch and waits until it is on disk.
    pub(super) fn append(&mut self, batch: &[u8]) -> Result<()> {
        let done = self.file.write_all(batch).and_then(|()| self.file.sync_data());
        done.map_err(Error::io(format!("append to {}", self.path.display())))
    }
}

/// Hands every record of a segment to `each`. A torn tail (a last batch that was never acknowledged) is
/// cut off in the newest segment.
///
/// # Errors
/// [`Error::Corrupt`] for damage anywhere else, before the file is touched.
pub(super) fn replay(path: &Path, newest: bool, mut each: impl FnMut(Record)) -> Result<()> {
    let context = || format!("read {}", path.display());
    let file = File::open(path).map_err(Error::io(context()))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut offset = 0;
    loop {
        let reason = match frame::read(&mut input).map_err(Error::io(context()))? {
            Frame::End => return Ok(()),
            Frame::Whole(payload) => match record::decode_all(&payload) {
                Some(records) => {
                    records.into_iter().for_each(&mut each);
                    offset += (HEADER_BYTES + payload.len()) as u64;
                    continue;
                }
                None => "the frame holds no records known to this version",
            },
            Frame::Broken(reason) if newest && !whole_frame_after(&mut input, offset, path)? => {
                tracing::warn!(file = %path.display(), offset, reason, "cut off a torn tail");
                return truncate(path, offset);
            }
            Frame::Broken(reason) => reason,
        };
        return Err(Error::Corrupt { file: path.to_owned(), offset, reason: reason.to_owned() });
    }
}

fn whole_frame_after(input: &mut BufReader<File>, offset: u64, path: &Path) -> Result<bool> {
    let mut rest = Vec::new();
    let read = input.seek(SeekFrom::Start(offset + 1)).and_then(|_| input.read_to_end(&mut rest));
    read.map_err(Error::io(format!("read {}", path.display())))?;
    Ok(frame::contains_whole(&rest))
}

fn truncate(path: &Path, length: u64) -> Result<()> {
    let cut = File::options().write(true).open(path).and_then(|file| {
        file.set_len(length)?;
        file.sync_all()
    });
    cut.map_err(Error::io(format!("truncate {}", path.display())))
}
