//! The life of one watch: what is there, a mark, then changes, until its time is over. A watcher that
//! reads too slowly fills its bounded buffer in the store and is cut there.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use skep_store::{KeyValue, RangeResult, Revision, WatchBatch, WatchStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use crate::ApiServer;
use crate::http::body::{self, Body, BoxError};

/// How a watch is to run.
pub(crate) struct Stream {
    pub(crate) feed: Feed,
    pub(crate) bookmarks: bool,
    /// The end of the initial events gets a bookmark of its own.
    pub(crate) mark_initial_end: bool,
    pub(crate) timeout: Duration,
    pub(crate) shutdown: CancellationToken,
    /// Keeps the server's parts alive while the watch runs.
    pub(crate) server: ApiServer,
}

struct Running {
    watch: Stream,
    initial: std::vec::IntoIter<KeyValue>,
    initial_revision: Option<Revision>,
    events: WatchStream,
    revision: Option<Revision>,
    deadline: Instant,
    over: bool,
}

impl Stream {
    /// The watch as a body.
    pub(crate) fn body(self, listed: Option<RangeResult>, events: WatchStream) -> Body {
        let initial_revision = listed.as_ref().map(|found| found.revision);
        let running = Running {
            deadline: Instant::now() + self.timeout,
            initial: listed.map(|found| found.kvs).unwrap_or_default().into_iter(),
            initial_revision,
            revision: initial_revision,
            events,
            over: false,
            watch: self,
        };
        let gauge = running.watch.server.metrics().watch_began();
        let frames = stream::unfold((running, gauge), |(mut running, gauge)| async move {
            let frame = running.next().await?;
            Some((Ok::<_, BoxError>(Frame::data(frame)), (running, gauge)))
        });
        body::boxed(StreamBody::new(frames))
    }
}

impl Running {
    async fn next(&mut self) -> Option<Bytes> {
        for kv in self.initial.by_ref() {
            if let Some(frame) = self.watch.feed.initial(&kv) {
                return Some(frame);
            }
        }
        if let Some(revision) = self.initial_revision.take()
            && self.watch.mark_initial_end
        {
            return Some(self.watch.feed.bookmark(revision, true));
        }
        while !self.over {
            let batch = tokio::select! {
                biased;
                () = self.watch.shutdown.cancelled() => return self.finish(),
                () = tokio::time::sleep_until(self.deadline) => return self.finish(),
                batch = self.events.next() => batch.ok()?,
            };
            self.revision = Some(batch.revision);
            if let Some(frames) = self.frames(&batch) {
                return Some(frames);
            }
        }
        None
    }

    fn frames(&self, batch: &WatchBatch) -> Option<Bytes> {
        if batch.events.is_empty() {
            return self.watch.bookmarks.then(|| self.watch.feed.bookmark(batch.revision, false));
        }
        let mut frames =
            batch.events.iter().filter_map(|event| self.watch.feed.event(event, batch.revision));
        let first = frames.next()?;
        let mut rest = frames.peekable();
        if rest.peek().is_none() {
            return Some(first);
        }
        let mut all = BytesMut::from(first);
        rest.for_each(|frame| all.extend_from_slice(&frame));
        Some(all.freeze())
    }

    /// The last word: how far the watch came.
    fn finish(&mut self) -> Option<Bytes> {
        self.over = true;
        let revision = self.revision.filter(|_| self.watch.bookmarks)?;
        Some(self.watch.feed.bookmark(revision, false))
    }
}
