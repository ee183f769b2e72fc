//! How many requests may be in flight: readers and writers each have their own number, so that one
//! kind cannot starve the other. A request too many is told to come back.

use std::sync::Arc;

use skep_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::Info;

/// The two limits.
#[derive(Debug)]
pub(crate) struct Limits {
    readonly: Arc<Semaphore>,
    mutating: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(readonly: usize, mutating: usize) -> Self {
        Self {
            readonly: Arc::new(Semaphore::new(readonly)),
            mutating: Arc::new(Semaphore::new(mutating)),
        }
    }

    /// A place for a request, held until it is dropped.
    pub(crate) fn enter(&self, info: &Info) -> Result<OwnedSemaphorePermit, Status> {
        let reads = match &info.resource {
            Some(path) => path.verb.is_read(),
            None => info.method == http::Method::GET || info.method == http::Method::HEAD,
        };
        let limit = if reads { &self.readonly } else { &self.mutating };
        limit
            .clone()
            .try_acquire_owned()
            .map_err(|_| Status::too_many_requests("Too many requests, please try again later.", 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_do_not_take_the_writers_places() {
        let limits = Limits::new(1, 1);
        let read = Info::read(&http::Method::GET, "/api/v1/pods", None);
        let write = Info::read(&http::Method::POST, "/api/v1/namespaces/a/pods", None);
        let reading = limits.enter(&read).unwrap();
        assert_eq!(limits.enter(&read).unwrap_err().code, 429);
        assert!(limits.enter(&write).is_ok());
        drop(reading);
        assert!(limits.enter(&read).is_ok());
    }
}
