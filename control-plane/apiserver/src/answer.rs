//! Answers: objects in the form the client asked for, and errors as upstream's Status objects.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, VARY};
use http::{Response, StatusCode};
use skep_api::codec::{self, Media};
use skep_api::names::GroupVersionKind;
use skep_api::status::Status;

use crate::http::body::{self, Body};

/// Smaller answers are not worth compressing, as upstream has it.
const GZIP_FROM_BYTES: usize = 128 << 10;

/// What every handler returns.
pub(crate) type Answer = Result<Response<Body>, Status>;

/// An answer of bytes that are already encoded.
pub(crate) fn bytes(
    code: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    bytes(code, "text/plain; charset=utf-8", text)
}

/// JSON that needs no schema: discovery, OpenAPI, keys.
pub(crate) fn json(value: &serde_json::Value) -> Response<Body> {
    bytes(StatusCode::OK, Media::Json.content_type(), value.to_string())
}

/// The way to another path, for good.
pub(crate) fn moved(location: &str) -> Answer {
    let mut response = Response::new(body::full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::from_str(location).map_err(Status::internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// An object of a kind.
pub(crate) fn object(
    code: StatusCode,
    object: &skep_api::Object,
    gvk: &GroupVersionKind,
    media: Media,
) -> Response<Body> {
    bytes(code, media.content_type(), codec::encode(object, gvk, media))
}

/// An error.
pub(crate) fn error(status: &Status, media: Media) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let gvk = GroupVersionKind::new("", "v1", "Status");
    let mut response = object(code, &status.to_value(), &gvk, media);
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Compresses a body worth it, for a client that takes gzip.
pub(crate) fn compress(encoded: Vec<u8>, takes_gzip: bool, response: &mut Response<Body>) {
    if !takes_gzip || encoded.len() < GZIP_FROM_BYTES {
        *response.body_mut() = body::full(encoded);
        return;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(&encoded).and_then(|()| encoder.finish());
    match packed {
        Ok(packed) => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            *response.body_mut() = body::full(packed);
        }
        // A Vec takes every byte: there is nothing to fail on.
        Err(_) => *response.body_mut() = body::full(encoded),
    }
}

/// A `Warning` header's value for a text, as RFC 7234 has it.
pub(crate) fn warning(text: &str) -> Option<HeaderValue> {
    let mut quoted = String::with_capacity(text.len() + 8);
    for character in text.chars().filter(|character| !character.is_control()) {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    HeaderValue::from_str(&format!("299 - \"{quoted}\"")).ok()
}
