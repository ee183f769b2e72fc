//! Table `events`: the ring buffer of drops and new flows, and the lease by which programs know that
//! somebody reads it.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use aya::maps::{Map, MapData, MapError, RingBuf};
use skep_abi::{Event, Listeners};

use crate::{
    error::{Error, Result},
    pin,
    record::Record,
    sys,
    table::Table,
};

const NAME: &str = "events";

/// A reader of events: a queue that empties as it is read.
///
/// Programs report only while the lease lasts that [`Events::renew`] takes; it ends with the reader.
pub struct Events {
    ring: RingBuf<MapData>,
    listeners: Table<u32, Listeners>,
    /// Locked as long as somebody reads.
    _lock: File,
}

/// Which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Opened connections.
    pub opened: bool,
    /// Dropped packets and refused calls.
    pub dropped: bool,
}

impl Events {
    /// What waits in the ring is of an earlier reader, and goes.
    pub(crate) fn open(maps_dir: &Path) -> Result<Self> {
        let error = |action, source| Error::Pin { action, path: maps_dir.join(NAME), source };
        // The folder of the links: that of the maps is locked by who writes the configuration.
        let folder = pin::links_dir(maps_dir.parent().unwrap_or(maps_dir));
        let lock = File::open(&folder).map_err(|source| error("lock", source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Listened),
            Err(TryLockError::Error(source)) => return Err(error("lock", source)),
        }
        let failed = |failure: MapError| error("open", io::Error::other(failure));
        let data = MapData::from_pin(maps_dir.join(NAME)).map_err(failed)?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(failed)?;
        let mut events = Self { ring, listeners: Table::open(maps_dir, "listeners")?, _lock: lock };
        while events.take().is_some() {}
        Ok(events)
    }

    /// Makes programs report for so long from now on. To be called again before that is over.
    pub fn renew(&self, wanted: Wanted, lease: Duration) -> Result<()> {
        let until_ns = sys::monotonic_ns() + lease.as_nanos() as u64;
        let until = |wanted: bool| if wanted { until_ns } else { 0 };
        let (opened_until_ns, dropped_until_ns) = (until(wanted.opened), until(wanted.dropped));
        self.listeners.insert(&0, &Listeners { opened_until_ns, dropped_until_ns })
    }

    /// The next event, if one waits.
    pub fn take(&mut self) -> Option<Event> {
        self.ring.next().and_then(|bytes| Event::from_prefix(&bytes))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Should it fail, the lease runs out by itself.
        let _ = self.listeners.insert(&0, &Listeners::default());
    }
}
