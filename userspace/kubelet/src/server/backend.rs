//! Connections to the runtime's streaming server, upgraded to what the client asked for.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::Refusal;

/// The most of a refusal that is passed on.
const MOST_REFUSAL: usize = 16 << 10;

pub(super) const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

/// An upgraded connection: what the runtime answered, and the bytes from then on.
pub(super) struct Backend {
    pub(super) headers: HeaderMap,
    pub(super) stream: TokioIo<Upgraded>,
}

/// Asks for an upgrade with the given headers.
pub(super) async fn connect(
    url: &str,
    method: Method,
    headers: HeaderMap,
) -> Result<Backend, Refusal> {
    let uri: Uri =
        url.parse().map_err(|_| Refusal::internal(format!("the runtime's address {url:?}")))?;
    let authority =
        uri.authority().ok_or_else(|| Refusal::internal("the runtime gave no address"))?;
    let failed = |error: &dyn std::fmt::Display| {
        Refusal::internal(format!("the runtime's streaming server at {authority}: {error}"))
    };
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
    *request.headers_mut() = headers;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| failed(&error))?;
    request.headers_mut().insert(header::HOST, host);
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let headers = response.headers().clone();
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| failed(&error))?;
    Ok(Backend { headers, stream: TokioIo::new(upgraded) })
}

async fn refusal(response: Response<Incoming>) -> Refusal {
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST_REFUSAL).collect().await;
    let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Refusal::new(status, text.unwrap_or_default())
}

/// What asks for SPDY with one of these protocols on it.
pub(super) fn spdy_headers(protocols: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    for protocol in protocols {
        headers.append(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    }
    headers
}

/// A client's own headers, without what is meant for this server alone.
pub(super) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in
        [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
    {
        headers.remove(name);
    }
    headers
}
