//! Connections: TLS, HTTP/1.1 and HTTP/2, upgrades, time limits, and an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body;
use crate::ApiServer;
use crate::identity::PeerCertificate;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(32);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections that have not ended by themselves are closed after this.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_STREAMS: u32 = 250;

/// The sockets that the service manager has opened for this process.
pub(crate) fn passed_listeners() -> anyhow::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let taken = passed.take_tcp_listener(index);
        if let Some(listener) = taken.with_context(|| format!("LISTEN_FDS: socket {index}"))? {
            listener.set_nonblocking(true).context("LISTEN_FDS: make a socket non-blocking")?;
            listeners.push(TcpListener::from_std(listener).context("LISTEN_FDS")?);
        }
    }
    Ok(listeners)
}

/// Answers connections on all `listeners` until `shutdown`; then lets what is under way come to its end.
pub(crate) async fn serve(
    server: &ApiServer,
    listeners: Vec<TcpListener>,
    tls: rustls::ServerConfig,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        let (server, acceptor) = (server.clone(), acceptor.clone());
        let (connections, shutdown) = (connections.clone(), shutdown.clone());
        accepting.spawn(async move {
            accept(&server, &listener, &acceptor, &connections, &shutdown).await;
        });
    }
    accepting.close();
    accepting.wait().await;
    server.draining().cancel();
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "closing connections that did not end");
    }
}

async fn accept(
    server: &ApiServer,
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    connections: &TaskTracker,
    shutdown: &CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    if let Err(error) = connection(server, socket, acceptor, shutdown).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors: give those in use time to be closed.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    server: ApiServer,
    socket: TcpStream,
    acceptor: TlsAcceptor,
    shutdown: CancellationToken,
) -> Result<(), body::BoxError> {
    socket.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates
        .and_then(|chain| chain.first())
        .map(|leaf| PeerCertificate(Bytes::copy_from_slice(leaf)));
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.call(request.map(body::boxed)).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(MAX_STREAMS);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
