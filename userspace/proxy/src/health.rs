//! HTTP answers about health: the proxy's own, and per Service how many of its endpoints are here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::service::ServiceName;

/// Connections that one listener serves at a time; balancers ask with one each.
const MAX_CONNECTIONS: usize = 64;

/// Whether the tables follow the API.
#[derive(Debug, Default)]
pub struct Health {
    synced: AtomicBool,
}

impl Health {
    /// The tables hold what the API says.
    pub fn set_synced(&self, synced: bool) {
        self.synced.store(synced, Ordering::Relaxed);
    }

    fn answer(&self, path: &str) -> (StatusCode, serde_json::Value) {
        let synced = self.synced.load(Ordering::Relaxed);
        match path {
            "/livez" => (StatusCode::OK, json!({ "synced": synced })),
            "/healthz" | "/" if synced => (StatusCode::OK, json!({ "synced": true })),
            "/healthz" | "/" => (StatusCode::SERVICE_UNAVAILABLE, json!({ "synced": false })),
            _ => (StatusCode::NOT_FOUND, json!({})),
        }
    }
}

/// Serves the proxy's own health until `shutdown`.
pub async fn serve(
    address: SocketAddr,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--healthz-bind-address: cannot listen on {address}"))?;
    accept(listener, move |path: &str| health.answer(path), shutdown).await;
    Ok(())
}

/// The listeners on Services' health check node ports.
#[derive(Debug, Default)]
pub struct HealthChecks {
    served: BTreeMap<u16, Check>,
}

#[derive(Debug)]
struct Check {
    service: ServiceName,
    local_endpoints: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl HealthChecks {
    /// Serves just these checks: port, Service, its endpoints on this node.
    pub async fn set(&mut self, checks: Vec<(ServiceName, u16, usize)>) {
        let wanted = |port: &u16, check: &Check| {
            checks.iter().any(|(service, p, _)| p == port && *service == check.service)
        };
        self.served.retain(|port, check| {
            let keep = wanted(port, check);
            if !keep {
                check.stop.cancel();
            }
            keep
        });
        for (service, port, count) in checks {
            if let Some(check) = self.served.get(&port) {
                check.local_endpoints.store(count, Ordering::Relaxed);
                continue;
            }
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let listener = match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(%service, port, %error, "cannot serve its health check");
                    continue;
                }
            };
            let local_endpoints = Arc::new(AtomicUsize::new(count));
            let stop = CancellationToken::new();
            let (counter, name) = (local_endpoints.clone(), service.clone());
            let answer = move |_: &str| check_answer(&name, counter.load(Ordering::Relaxed));
            tokio::spawn(accept(listener, answer, stop.clone()));
            self.served.insert(port, Check { service, local_endpoints, stop });
        }
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        self.served.values().for_each(|check| check.stop.cancel());
    }
}

/// Upstream's format, which cloud load balancers read.
fn check_answer(service: &ServiceName, count: usize) -> (StatusCode, serde_json::Value) {
    let status = if count > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "service": { "namespace": service.namespace, "name": service.name },
        "localEndpoints": count,
        "serviceProxyHealthy": true,
    });
    (status, body)
}

async fn accept(
    listener: TcpListener,
    answer: impl Fn(&str) -> (StatusCode, serde_json::Value) + Clone + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let slots = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a health check");
                    continue;
                }
            },
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let answer = answer.clone();
        let serve = service_fn(move |request: Request<Incoming>| {
            let (status, body) = answer(request.uri().path());
            let response = Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .header("x-content-type-options", "nosniff")
                .body(Full::new(Bytes::from(body.to_string())));
            std::future::ready(response)
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), serve);
            let limit = std::time::Duration::from_secs(30);
            // A client that breaks off is its own concern.
            let _ = tokio::time::timeout(limit, connection).await;
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancer_is_told_how_many_endpoints_are_here() {
        let service = ServiceName::new("shop", "web");
        let (status, body) = check_answer(&service, 2);
        assert_eq!((status, &body["localEndpoints"]), (StatusCode::OK, &json!(2)));
        assert_eq!(check_answer(&service, 0).0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn the_proxy_is_healthy_once_it_has_synced() {
        let health = Health::default();
        assert_eq!(health.answer("/healthz").0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(health.answer("/livez").0, StatusCode::OK);
        health.set_synced(true);
        assert_eq!(health.answer("/healthz").0, StatusCode::OK);
        assert_eq!(health.answer("/other").0, StatusCode::NOT_FOUND);
    }
}
