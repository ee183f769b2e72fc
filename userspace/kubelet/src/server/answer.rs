//! Answers: whole texts, streams, and refusals in plain words.

use bytes::Bytes;
use futures::Stream;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

/// The body of an answer.
pub(super) type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl From<Refusal> for Response<Answer> {
    fn from(refusal: Refusal) -> Self {
        let mut response = text(&format!("{}\n", refusal.message));
        *response.status_mut() = refusal.status;
        response
    }
}

pub(super) fn text(text: &str) -> Response<Answer> {
    whole(text.to_owned(), "text/plain; charset=utf-8")
}

pub(super) fn json(text: String) -> Response<Answer> {
    whole(text, "application/json")
}

/// What Prometheus reads.
pub(super) fn metrics(text: String) -> Response<Answer> {
    whole(text, "text/plain; version=0.0.4; charset=utf-8")
}

fn whole(text: String, kind: &'static str) -> Response<Answer> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// A text that comes in pieces.
pub(super) fn stream<S>(pieces: S) -> Response<Answer>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
{
    use futures::StreamExt;
    let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync();
    let mut response = Response::new(body);
    let kind = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// No body: what follows an upgrade is not HTTP.
pub(super) fn empty() -> Answer {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()
}
