//! What the server serves, told to clients: /api, /apis, OpenAPI, and the keys of its tokens.

mod openapi;

use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use skep_api::discovery::{self, Aggregated};
use skep_api::status::Status;
use skep_auth::serviceaccount::openid_configuration;

use crate::ApiServer;
use crate::answer;
use crate::http::accept::takes_gzip;
use crate::http::body::{self, Body};
use crate::request::Info;
use openapi::{version2, version3};

/// Answers discovery paths; nothing for any other.
pub(crate) fn answer(
    server: &ApiServer,
    info: &Info,
    headers: &HeaderMap,
) -> Result<Option<Response<Body>>, Status> {
    if info.method != Method::GET && info.method != Method::HEAD {
        return Ok(None);
    }
    let registry = server.registry();
    let parts: Vec<&str> = info.path.trim_matches('/').split('/').collect();
    let document = match parts.as_slice() {
        ["api"] | ["apis"] if aggregated_form(headers).is_some() => {
            let form = aggregated_form(headers).unwrap_or(Aggregated::V2);
            let document = discovery::aggregated(registry, parts[0] == "api", form);
            return Ok(Some(tagged(&document, headers, aggregated_type(form))));
        }
        ["api"] => discovery::api_versions(&server.settings().advertised()),
        ["apis"] => discovery::group_list(registry),
        ["apis", group] => discovery::group(registry, group).ok_or_else(Status::no_such_path)?,
        ["api", version] => resource_list(server, "", version)?,
        ["apis", group, version] => resource_list(server, group, version)?,
        ["openapi", "v3"] => skep_api::openapi::index(registry),
        ["openapi", "v3", "api", version] => {
            return version3(registry, ("", version), &info.query, headers).map(Some);
        }
        ["openapi", "v3", "apis", group, version] => {
            return version3(registry, (group, version), &info.query, headers).map(Some);
        }
        ["openapi", "v2"] => return version2(registry, headers).map(Some),
        [".well-known", "openid-configuration"] => {
            let authentication = server.authentication();
            let keys = format!("https://{}/openid/v1/jwks", server.settings().advertised());
            openid_configuration(authentication.signer.issuer(), &keys)
        }
        ["openid", "v1", "jwks"] => server.authentication().verifier.keys().jwks(),
        [""] => paths(server),
        _ => return Ok(None),
    };
    Ok(Some(tagged(&document, headers, "application/json")))
}

fn resource_list(server: &ApiServer, group: &str, version: &str) -> Result<Value, Status> {
    discovery::resource_list(server.registry(), group, version).ok_or_else(Status::no_such_path)
}

/// The form in which a client wants to discover everything at once.
fn aggregated_form(headers: &HeaderMap) -> Option<Aggregated> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    accept.split(',').find_map(|entry| {
        let has = |parameter: &str| entry.split(';').any(|own| own.trim() == parameter);
        if !has("as=APIGroupDiscoveryList") || !has("g=apidiscovery.k8s.io") {
            return None;
        }
        match (has("v=v2"), has("v=v2beta1")) {
            (true, _) => Some(Aggregated::V2),
            (_, true) => Some(Aggregated::V2Beta1),
            _ => None,
        }
    })
}

fn aggregated_type(form: Aggregated) -> &'static str {
    match form {
        Aggregated::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Aggregated::V2Beta1 => {
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
        }
    }
}

/// A document with a tag, or 304 when the client has it already.
fn tagged(document: &Value, headers: &HeaderMap, content_type: &'static str) -> Response<Body> {
    let encoded = document.to_string().into_bytes();
    let digest = Sha512::digest(&encoded);
    let tag: String = digest.iter().take(32).map(|byte| format!("{byte:02X}")).collect();
    let tag = format!("\"{tag}\"");
    let known = headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = Response::new(body::full(""));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer::compress(encoded, takes_gzip(headers), &mut response);
    response
}

/// The root's list of paths.
fn paths(server: &ApiServer) -> Value {
    let mut paths = vec!["/.well-known/openid-configuration".to_owned(), "/api".to_owned()];
    for group in server.registry().groups() {
        let root = match group.name.as_ref() {
            "" => "/api".to_owned(),
            name => format!("/apis/{name}"),
        };
        paths.extend((!group.name.is_empty()).then(|| root.clone()));
        paths.extend(group.versions.iter().map(|version| format!("{root}/{}", version.name)));
    }
    let own = [
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(own.map(str::to_owned));
    paths.sort();
    json!({"paths": paths})
}
