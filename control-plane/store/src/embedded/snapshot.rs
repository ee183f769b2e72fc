//! Everything alive at one revision in one file, so that older log segments can go.

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::Path;

use super::files;
use super::frame::{self, Frame, HEADER_BYTES};
use super::index::Index;
use super::record::{self, Record};
use crate::{Error, KeyValue, LeaseId, Result, Revision};

const FRAME_BYTES: usize = 1 << 20;

/// What a snapshot holds. Taking one copies no value.
#[derive(Debug)]
pub(super) struct Snapshot {
    revision: Revision,
    keys: Vec<KeyValue>,
    leases: Vec<(LeaseId, u64)>,
}

impl Snapshot {
    pub(super) fn of(index: &Index) -> Self {
        let (keys, leases) = (index.iter().collect(), index.leases.iter().collect());
        Self { revision: index.revision(), keys, leases }
    }

    /// Writes the file, and removes what it makes superfluous once it is durable.
    pub(super) fn write(self, folder: &Path) -> Result<()> {
        let path = files::path(folder, self.revision, files::SNAPSHOT);
        let unfinished = files::unfinished(&path);
        let context = || format!("write {}", unfinished.display());
        let mut file = File::create(&unfinished).map_err(Error::io(context()))?;
        self.write_frames(&mut file).map_err(Error::io(context()))?;
        fs::rename(&unfinished, &path).map_err(Error::io(context()))?;
        files::sync_folder(folder)?;
        for extension in [files::SNAPSHOT, files::SEGMENT] {
            let mut old = files::list(folder, extension)?;
            old.retain(|(revision, _)| *revision < self.revision);
            old.iter().try_for_each(|(_, path)| files::remove(path))?;
        }
        Ok(())
    }

    fn write_frames(&self, file: &mut File) -> std::io::Result<()> {
        let end = Record::SnapshotEnd { revision: self.revision, keys: self.keys.len() as u64 };
        let leases = self.leases.iter();
        let leases = leases.map(|&(id, expires_unix_ms)| Record::Lease { id, expires_unix_ms });
        let keys = self.keys.iter().cloned().map(Record::Key);
        let mut records = leases.chain(keys).chain([end]).peekable();
        while records.peek().is_some() {
            let mut out = Vec::new();
            frame::append(&mut out, |out| {
                while out.len() < FRAME_BYTES
                    && let Some(record) = records.next()
                {
                    record.encode(out);
                }
            });
            file.write_all(&out)?;
        }
        file.sync_all()
    }
}

/// Reads the newest snapshot, if there is one, into an empty index.
pub(super) fn load(folder: &Path, index: &mut Index) -> Result<()> {
    let Some((_, path)) = files::list(folder, files::SNAPSHOT)?.pop() else { return Ok(()) };
    let context = || format!("read {}", path.display());
    let file = File::open(&path).map_err(Error::io(context()))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut offset = 0;
    let corrupt = |offset: u64, reason: &str| Error::Corrupt {
        file: path.clone(),
        offset,
        reason: reason.to_owned(),
    };
    loop {
        let payload = match frame::read(&mut input).map_err(Error::io(context()))? {
            Frame::Whole(payload) => payload,
            Frame::End => return Err(corrupt(offset, "the snapshot has no end")),
            Frame::Broken(reason) => return Err(corrupt(offset, reason)),
        };
        let records = record::decode_all(&payload);
        for record in records.ok_or_else(|| corrupt(offset, "the frame holds no records"))? {
            match record {
                Record::Lease { id, expires_unix_ms } => index.leases.grant(id, expires_unix_ms),
                Record::Key(kv) => index.restore(kv),
                Record::SnapshotEnd { revision, keys } if keys == index.len() as u64 => {
                    index.restored(revision);
                    return Ok(());
                }
                _ => return Err(corrupt(offset, "the frame holds what no snapshot has")),
            }
        }
        offset += (HEADER_BYTES + payload.len()) as u64;
    }
}
