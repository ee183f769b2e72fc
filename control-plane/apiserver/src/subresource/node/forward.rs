//! Passing a request on and its answer back, bodies as streams, upgraded connections as bytes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use skep_api::status::Status;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Destination;
use crate::answer::Answer;
use crate::call::Call;
use crate::http::body::{self, Body};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that belong to one connection, not to the request.
const HOP_BY_HOP: [&str; 7] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) async fn forward(call: Call, destination: Destination) -> Answer {
    let upgrades = call.headers.contains_key(UPGRADE);
    let client = upgrades.then(|| call.take_upgrade()).flatten();
    let request = request(&call, &destination, upgrades)?;
    let refuse = |error: &dyn std::fmt::Display| {
        Status::unavailable(format!(
            "error trying to reach {}:{}: {error}",
            destination.host, destination.port
        ))
    };
    let connecting = connect(&call, &destination);
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| refuse(&"timed out"))?
        .map_err(|error| refuse(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| refuse(&error))?;
    tokio::spawn(connection.with_upgrades());
    let mut answer = sender.send_request(request).await.map_err(|error| refuse(&error))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let server = hyper::upgrade::on(&mut answer);
        tokio::spawn(splice(client, server));
    }
    let (mut parts, body) = answer.into_parts();
    let keeps_upgrade = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    strip(&mut parts.headers, keeps_upgrade);
    Ok(Response::from_parts(parts, body::boxed(body)))
}

async fn connect(call: &Call, to: &Destination) -> std::io::Result<Box<dyn Stream>> {
    let host = to.host.trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, to.port)).await?;
    socket.set_nodelay(true)?;
    if !to.tls {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let connector = TlsConnector::from(Arc::clone(&call.server.kubelets().tls));
    Ok(Box::new(connector.connect(name, socket).await?))
}

fn request(call: &Call, to: &Destination, upgrades: bool) -> Result<Request<Body>, Status> {
    let mut headers = call.headers.clone();
    strip(&mut headers, upgrades);
    let host = format!("{}:{}", to.host, to.port);
    headers.insert(HOST, HeaderValue::from_str(&host).map_err(Status::internal)?);
    let mut request = Request::new(call.take_body());
    *request.method_mut() = call.method.clone();
    *request.uri_mut() =
        to.path.parse().map_err(|error| Status::bad_request(format!("{error}")))?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn strip(headers: &mut HeaderMap, keeps_upgrade: bool) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if !keeps_upgrade {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        named.iter().for_each(|name| drop(headers.remove(name)));
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
}

/// Both directions until either side is done.
async fn splice(client: OnUpgrade, server: OnUpgrade) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "an upgraded connection did not come about");
            return;
        }
    };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!(%error, "an upgraded connection ended");
    }
}
