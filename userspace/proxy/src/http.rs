//! A small HTTP server for small answers: health and metrics.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Connections that one listener serves at a time; balancers ask with one each.
const MAX_CONNECTIONS: usize = 64;
/// How long one may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    /// One more header.
    pub(crate) header: Option<(&'static str, String)>,
}

impl Answer {
    /// A JSON document.
    pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string(), header: None }
    }

    /// A text.
    pub(crate) fn text(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/plain; charset=utf-8",
            body,
            header: None,
        }
    }

    /// There is no such path.
    pub(crate) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::text("404 page not found\n".into()) }
    }

    fn response(self) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
        let mut response = Response::builder()
            .status(self.status)
            .header("content-type", self.content_type)
            .header("x-content-type-options", "nosniff");
        if let Some((name, value)) = self.header {
            response = response.header(name, value);
        }
        response.body(Full::new(Bytes::from(self.body)))
    }
}

/// Answers requests by their path, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> Answer + Clone + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let slots = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    // Out of descriptors, most likely: the next try would fail as well.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let answer = answer.clone();
        let serve = service_fn(move |request: Request<Incoming>| {
            std::future::ready(answer(request.uri().path()).response())
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve);
            // A client that breaks off is its own concern.
            let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
            drop(slot);
        });
    }
}
