//! Follows one kind of object at the API server: a list, then a watch from where it ended, again and
//! again. In protobuf: for a cluster of 10,000 Services that is a tenth of what JSON costs.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use prost::Message;
use tokio::sync::mpsc;

use crate::objects::Object;

mod stream;

pub use stream::{ListReader, RawEvent, StreamError, WatchReader};

/// What API servers call protobuf.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// How long one watch lasts; upstream's clients ask for 5 to 10 minutes.
const WATCH_SECONDS: u64 = 480;
/// When a watch is taken for dead although its connection says nothing.
const WATCH_LIMIT: Duration = Duration::from_secs(WATCH_SECONDS + 30);
/// How long a piece of a list may take.
const LIST_LIMIT: Duration = Duration::from_secs(60);
/// Pauses after failures.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// What happens to the objects of a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<K> {
    /// A new list begins.
    Restarted,
    /// One object of it.
    Listed(K),
    /// The list is complete: what it did not name is gone.
    Synced,
    /// An object was made or changed.
    Applied(K),
    /// An object was deleted, or no longer concerns us.
    Deleted(K),
}

/// Why a list or watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The request failed.
    #[error("{0}")]
    Request(#[from] kube::Error),
    /// The body ended in an error.
    #[error("the connection broke: {0}")]
    Body(String),
    /// The API server refused.
    #[error("the API server answered {status}: {message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// What it sent cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// It took too long.
    #[error("the API server does not answer in time")]
    TimedOut,
    /// Nobody listens any more.
    #[error("the proxy is ending")]
    Closed,
}

/// Which objects.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// A label selector.
    pub labels: String,
    /// A field selector.
    pub fields: String,
}

/// Follows a kind for ever, into `events`; ends when nobody listens any more. Failures are told and
/// tried again, after growing pauses.
pub async fn follow<K: Object, E: Send + 'static>(
    client: Client,
    selection: Selection,
    events: mpsc::Sender<E>,
    wrap: fn(Event<K>) -> E,
) {
    let mut watched = Watched { client, selection, events, wrap, version: String::new() };
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match watched.run().await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                continue;
            }
            Err(WatchError::Closed) => return,
            Err(error) => error,
        };
        if matches!(&error, WatchError::Refused { status, .. } if *status == StatusCode::GONE) {
            tracing::debug!("the list of {} is too old: listing again", K::NAME);
            watched.version.clear();
            continue;
        }
        tracing::warn!(%error, "cannot follow {}", K::NAME);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = watched.events.closed() => return,
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// All objects of a kind, as they are now.
pub async fn list<K: Object>(client: &Client, selection: &Selection) -> Result<Vec<K>, WatchError> {
    let mut listing = Listing::begin(client, selection, "");
    let mut all = Vec::new();
    while let Some(objects) = listing.next().await? {
        all.extend(objects);
    }
    Ok(all)
}

struct Watched<K, E> {
    client: Client,
    selection: Selection,
    events: mpsc::Sender<E>,
    wrap: fn(Event<K>) -> E,
    /// What is known; empty before the first list.
    version: String,
}

impl<K: Object, E: Send + 'static> Watched<K, E> {
    /// One list, if none is known, and one watch.
    async fn run(&mut self) -> Result<(), WatchError> {
        if self.version.is_empty() {
            self.send(Event::Restarted).await?;
            self.version = self.list().await?;
            self.send(Event::Synced).await?;
        }
        self.watch().await
    }

    async fn send(&self, event: Event<K>) -> Result<(), WatchError> {
        self.events.send((self.wrap)(event)).await.map_err(|_| WatchError::Closed)
    }

    async fn list(&self) -> Result<String, WatchError> {
        // Version 0: whatever the API server has at hand. It may be old, the watch makes up for it.
        let mut listing = Listing::begin(&self.client, &self.selection, "0");
        while let Some(objects) = listing.next().await? {
            for object in objects {
                self.send(Event::Listed(object)).await?;
            }
        }
        Ok(listing.reader.resource_version)
    }

    async fn watch(&mut self) -> Result<(), WatchError> {
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", &self.version.clone()),
            ("timeoutSeconds", &WATCH_SECONDS.to_string()),
        ];
        let watch = async {
            let accept = format!("{PROTOBUF};stream=watch");
            let uri = uri::<K>(&self.selection, &query);
            let mut body = get(&self.client, uri, &accept).await?.into_body();
            let mut reader = WatchReader::default();
            while let Some(piece) = data(&mut body).await? {
                reader.push(&piece);
                while let Some(event) = reader.pull()? {
                    self.take(event).await?;
                }
            }
            Ok(())
        };
        // The API server ends it before; else the connection is dead.
        tokio::time::timeout(WATCH_LIMIT, watch).await.unwrap_or(Err(WatchError::TimedOut))
    }

    async fn take(&mut self, event: RawEvent) -> Result<(), WatchError> {
        if event.kind == "ERROR" {
            return Err(refusal(event.object));
        }
        let object = K::decode(event.object).map_err(StreamError::from)?;
        self.version.clone_from(&object.meta().resource_version);
        match event.kind.as_str() {
            "BOOKMARK" => Ok(()),
            "DELETED" => self.send(Event::Deleted(object)).await,
            _ => self.send(Event::Applied(object)).await,
        }
    }
}

/// Part of `Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "3")]
    message: String,
    #[prost(int32, tag = "6")]
    code: i32,
}

fn refusal(status: Bytes) -> WatchError {
    let Ok(Status { message, code }) = Status::decode(status) else {
        return StreamError::NoEnvelope.into();
    };
    let status = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    WatchError::Refused { status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message }
}

/// A list on its way here, in as many parts as the API server makes of it.
struct Listing<'a, K> {
    client: &'a Client,
    selection: &'a Selection,
    version: &'a str,
    body: Option<Body>,
    reader: ListReader,
    objects: PhantomData<fn() -> K>,
}

impl<'a, K: Object> Listing<'a, K> {
    fn begin(client: &'a Client, selection: &'a Selection, version: &'a str) -> Self {
        let reader = ListReader::default();
        Self { client, selection, version, body: None, reader, objects: PhantomData }
    }

    /// The objects that the next piece of the answer completes; nothing at the end.
    async fn next(&mut self) -> Result<Option<Vec<K>>, WatchError> {
        let next = async {
            let body = match &mut self.body {
                Some(body) => body,
                None => {
                    let part = uri::<K>(self.selection, &[("resourceVersion", self.version)]);
                    self.body.insert(get(self.client, part, PROTOBUF).await?.into_body())
                }
            };
            let mut objects = Vec::new();
            if let Some(piece) = data(body).await? {
                self.reader.push(&piece, |object| objects.push(object))?;
                return Ok(Some(objects));
            }
            self.reader.finish()?;
            if self.reader.next_part.is_empty() {
                return Ok(None);
            }
            let part = uri::<K>(self.selection, &[("continue", &self.reader.next_part)]);
            self.reader = ListReader::default();
            *body = get(self.client, part, PROTOBUF).await?.into_body();
            Ok(Some(objects))
        };
        tokio::time::timeout(LIST_LIMIT, next).await.unwrap_or(Err(WatchError::TimedOut))
    }
}

fn uri<K: Object>(selection: &Selection, query: &[(&str, &str)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    let selectors = [
        ("labelSelector", selection.labels.as_str()),
        ("fieldSelector", selection.fields.as_str()),
    ];
    let all = query.iter().copied().chain(selectors);
    pairs.extend_pairs(all.filter(|(_, value)| !value.is_empty()));
    format!("{}?{}", K::PATH, pairs.finish())
}

async fn get(client: &Client, uri: String, accept: &str) -> Result<Response<Body>, WatchError> {
    let request = Request::get(uri)
        .header("accept", accept)
        .body(Body::empty())
        .expect("a path of ours and an escaped query");
    let response = client.send(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let body = body.unwrap_or_default();
    let said = stream::open_envelope(body.clone()).ok().and_then(|raw| Status::decode(raw).ok());
    let message = said.map_or_else(|| String::from_utf8_lossy(&body).into(), |said| said.message);
    Err(WatchError::Refused { status, message })
}

/// The next piece of a body; nothing at its end.
async fn data(body: &mut Body) -> Result<Option<Bytes>, WatchError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| WatchError::Body(error.to_string()))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}
