//! OpenAPI documents. Making one takes a while: clients are told to keep it for good, under an address
//! that changes with it.

use http::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};
use skep_api::openapi;
use skep_api::registry::Registry;
use skep_api::status::Status;

use super::tagged;
use crate::answer;
use crate::http::accept::takes_gzip;
use crate::http::body::Body;
use crate::request::Query;

/// `/openapi/v3/PATH`
pub(super) fn version3(
    registry: &Registry,
    (group, version): (&str, &str),
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let path = match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    };
    let index = openapi::index(registry);
    let address = index["paths"][&path]["serverRelativeURL"].as_str();
    let address = address.ok_or_else(Status::no_such_path)?;
    let hash = address.split_once("hash=").map_or("", |(_, hash)| hash);
    let tag = HeaderValue::from_str(&format!("\"{hash}\"")).map_err(Status::internal)?;
    let mut response = if headers.get(IF_NONE_MATCH) == Some(&tag) {
        let mut response = Response::new(crate::http::body::full(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let document = openapi::document(registry, group, version);
        let document = document.ok_or_else(Status::no_such_path)?;
        let mut response = answer::bytes(StatusCode::OK, "application/json", "");
        let encoded = document.to_string().into_bytes();
        answer::compress(encoded, takes_gzip(headers), &mut response);
        response
    };
    response.headers_mut().insert(ETAG, tag);
    if query.get("hash") == hash {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    Ok(response)
}

/// `/openapi/v2`, in JSON only.
pub(super) fn version2(registry: &Registry, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let takes = |entry: &str| {
        let media = entry.split(';').next().unwrap_or_default().trim();
        matches!(media, "application/json" | "*/*" | "application/*")
    };
    if !accept.split(',').any(takes) {
        return Err(Status::not_acceptable(&["application/json"]));
    }
    Ok(tagged(&openapi::v2(registry), headers, "application/json"))
}
