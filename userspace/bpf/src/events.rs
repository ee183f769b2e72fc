//! Table `events`: the ring buffer of drops and new flows.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use aya::maps::{Map, MapData, MapError, RingBuf};
use skep_abi::Event;

use crate::{
    error::{Error, Result},
    record::Record,
};

const NAME: &str = "events";

/// A reader of events: a queue that empties as it is read.
///
/// Its descriptor becomes readable when an event comes, so that it can stand in `tokio`'s `AsyncFd`.
pub struct Events(RingBuf<MapData>);

impl Events {
    pub(crate) fn open(maps_dir: &Path) -> Result<Self> {
        let error = |error: MapError| Error::Pin {
            action: "open",
            path: maps_dir.join(NAME),
            source: io::Error::other(error),
        };
        let data = MapData::from_pin(maps_dir.join(NAME)).map_err(error)?;
        RingBuf::try_from(Map::RingBuf(data)).map(Self).map_err(error)
    }

    /// The next event, if one waits.
    pub fn take(&mut self) -> Option<Event> {
        self.0.next().and_then(|bytes| Event::from_prefix(&bytes))
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
