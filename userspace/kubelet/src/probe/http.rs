//! An HTTP request to a container, for probes and hooks.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http_trust::AnyCertificate;

/// The most of an answer that is read.
const MOST_BODY: usize = 10 << 10;

/// Ok for an answer from 200 to 399, or what went wrong.
pub(crate) async fn get(host: &str, port: u16, action: &HTTPGetAction) -> Result<(), String> {
    let secure = action.scheme.as_deref() == Some("HTTPS");
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {host}:{port}: {error}"))?;
    let request = request(host, port, action)?;
    if !secure {
        return send(stream, request).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(AnyCertificate::client_config()?));
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    send(stream, request).await
}

fn request(
    host: &str,
    port: u16,
    action: &HTTPGetAction,
) -> Result<http::Request<Empty<Bytes>>, String> {
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let authority =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = http::Request::builder()
        .uri(path)
        .header(http::header::USER_AGENT, concat!("kube-probe/", "1.37"))
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close");
    let headers = action.http_headers.iter().flatten();
    let mut has_host = false;
    if let Some(map) = request.headers_mut() {
        for header in headers {
            let name = http::HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|error| format!("header {:?}: {error}", header.name))?;
            let value = http::HeaderValue::from_str(&header.value)
                .map_err(|error| format!("header {:?}: {error}", header.name))?;
            has_host |= name == http::header::HOST;
            if matches!(name, http::header::HOST | http::header::USER_AGENT | http::header::ACCEPT)
            {
                map.insert(name, value);
            } else {
                map.append(name, value);
            }
        }
    }
    if !has_host {
        request = request.header(http::header::HOST, authority);
    }
    request.body(Empty::new()).map_err(|error| error.to_string())
}

async fn send<S>(stream: S, request: http::Request<Empty<Bytes>>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        // Read to the end, so that the server does not see its answer refused.
        let _ = Limited::new(answer.into_body(), MOST_BODY).collect().await;
        match status {
            200..400 => Ok(()),
            _ => Err(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
    .await;
    driver.abort();
    answer
}

/// Where the health protocol is asked.
pub(super) fn health_path() -> PathAndQuery {
    PathAndQuery::from_static("/grpc.health.v1.Health/Check")
}
