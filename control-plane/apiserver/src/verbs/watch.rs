//! Following changes: the request's side of a watch. What is sent is made in `crate::watch`.

use std::time::Duration;

use http::{Response, StatusCode};
use rand::RngExt;
use skep_api::status::Status;
use skep_store::{Range, Revision};

use super::selection::Selection;
use crate::answer::Answer;
use crate::call::Call;
use crate::objects::store_error;
use crate::request::options::RevisionMatch;
use crate::watch::{Feed, Stream};

/// A watch without a timeout of its own ends after this long or up to twice as long, so that watchers
/// spread out again.
const DEFAULT_TIMEOUT_SECONDS: u64 = 1800;

pub(crate) async fn watch(call: &Call) -> Answer {
    let objects = call.objects()?;
    let selection = Selection::read(call.resource, &call.query, call.name())?;
    let wanted = RevisionMatch::read(&call.query)?;
    let initial = call.query.has("sendInitialEvents").then(|| call.query.flag("sendInitialEvents"));
    check_initial(call, initial)?;
    let mut range = Range::prefix(objects.prefix(call.namespace()));
    if let RevisionMatch::NotOlderThan(version) | RevisionMatch::Exact(version) = wanted {
        let current = objects.store.revision().await.map_err(store_error)?;
        if version > current.0 && initial == Some(true) {
            return Err(Status::too_large_resource_version(version, current.0, 1));
        }
    }
    // A watch without a revision begins with what is there.
    let from_now = matches!(wanted, RevisionMatch::Newest | RevisionMatch::Any);
    let listed = if initial.unwrap_or(from_now) {
        let found = objects.store.range(range.clone()).await.map_err(store_error)?;
        range.revision = Some(found.revision);
        Some(found)
    } else {
        if let RevisionMatch::NotOlderThan(version) | RevisionMatch::Exact(version) = wanted {
            range.revision = Some(Revision(version));
        }
        None
    };
    let events = match objects.store.watch(range).await {
        Ok(events) => events,
        Err(error) => return Err(store_error(error)),
    };
    let timeout = match call.query.number("timeoutSeconds").map_err(Status::bad_request)? {
        Some(seconds) if seconds > 0 => u64::try_from(seconds).unwrap_or(DEFAULT_TIMEOUT_SECONDS),
        _ => rand::rng().random_range(DEFAULT_TIMEOUT_SECONDS..2 * DEFAULT_TIMEOUT_SECONDS),
    };
    let stream = Stream {
        feed: Feed::new(call, objects, selection),
        bookmarks: call.query.flag("allowWatchBookmarks"),
        mark_initial_end: initial == Some(true),
        timeout: Duration::from_secs(timeout),
        shutdown: call.server.draining(),
        server: call.server.clone(),
    };
    let mut response = Response::new(stream.body(listed, events));
    *response.status_mut() = StatusCode::OK;
    let content_type = Feed::content_type(call.accept.media);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    call.add_warnings(&mut response);
    Ok(response)
}

fn check_initial(call: &Call, initial: Option<bool>) -> Result<(), Status> {
    let rule = call.query.get("resourceVersionMatch");
    let refuse = |message: &str| Err(Status::bad_request(message));
    match (initial, rule) {
        (Some(_), "NotOlderThan") | (None, "") => Ok(()),
        (Some(_), _) => refuse(
            "sendInitialEvents is set: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (None, _) => refuse(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
    }
}
