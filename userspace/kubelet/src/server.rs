//! What the API server (and people with rights) ask a node: logs, exec, attach, port forwarding,
//! the list of pods, measurements. TLS only; every request is authenticated and authorized.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use skep_auth::authn::UserInfo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::kubelet::Kubelet;
use crate::pods::Known;

mod access;
mod answer;
mod backend;
mod logs;
mod measure;
mod route;
mod serving;
mod spdy;
mod stream;
mod tunnel;
mod websocket;

use answer::{Answer, Refusal};
use route::Route;

/// Connections at a time.
const MOST_CONNECTIONS: usize = 1000;
/// A client that does not finish its handshake is in the way.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What requests are answered from.
pub(crate) struct Server {
    kubelet: Arc<Kubelet>,
    known: Known,
    access: access::Access,
}

/// Serves until `shutdown`.
pub(crate) async fn run(
    kubelet: Arc<Kubelet>,
    known: Known,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listen = kubelet.config.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("--address and --port: cannot listen on {listen}"))?;
    let acceptor = TlsAcceptor::from(Arc::new(serving::config(&kubelet, &shutdown)?));
    let access = access::Access::new(kubelet.client.clone(), kubelet.config.node_name.clone());
    let server = Arc::new(Server { kubelet, known, access });
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.context("the places are never closed")?;
        let stream = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (server, acceptor) = (server.clone(), acceptor.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(server, acceptor, stream).await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
}

async fn connection(
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let user = shown.map(|der| skep_auth::authn::certificate::user(der)).transpose()?;
    let service = service_fn(move |request| {
        let (server, user) = (server.clone(), user.clone());
        async move { Ok::<_, Infallible>(server.answer(request, user).await) }
    });
    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
        .map_err(|error| anyhow::anyhow!(error))
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, user: Option<UserInfo>) -> Response<Answer> {
        match self.try_answer(request, user).await {
            Ok(response) => response,
            Err(refusal) => refusal.into(),
        }
    }

    async fn try_answer(
        &self,
        request: Request<Incoming>,
        user: Option<UserInfo>,
    ) -> Result<Response<Answer>, Refusal> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        self.access.check(&request, user, &method, &path).await?;
        match Route::parse(&path) {
            Some(Route::Health) => Ok(answer::text("ok")),
            Some(Route::Pods) => self.pods(),
            Some(Route::Logs { pod, container }) if method == Method::GET => {
                self.logs(&pod, &container, request.uri().query().unwrap_or_default()).await
            }
            Some(Route::Exec { pod, container }) => self.exec(request, &pod, &container).await,
            Some(Route::Attach { pod, container }) => self.attach(request, &pod, &container).await,
            Some(Route::PortForward { pod }) => self.port_forward(request, &pod).await,
            Some(Route::Run { pod, container }) if method == Method::POST => {
                self.run_command(&pod, &container, request.uri().query().unwrap_or_default()).await
            }
            Some(Route::StatsSummary) => self.stats_summary().await,
            Some(Route::ResourceMetrics) => self.resource_metrics().await,
            Some(Route::Metrics) => Ok(self.metrics()),
            Some(_) => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
            None => Err(Refusal::new(StatusCode::NOT_FOUND, "404 page not found")),
        }
    }

    fn pods(&self) -> Result<Response<Answer>, Refusal> {
        let known = self.known.read();
        let items: Vec<_> = known.values().map(|pod| serde_json::to_value(&**pod)).collect();
        let items = items
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
        Ok(answer::json(list.to_string()))
    }
}
