//! The listeners on Services' health check node ports, which tell load balancers how many of a Service's
//! endpoints are on this node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hyper::StatusCode;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::desired::HealthCheck;
use crate::health::Health;
use crate::http::{self, Answer};
use crate::service::ServiceName;

/// All of them.
#[derive(Debug)]
pub struct HealthChecks {
    health: Arc<Health>,
    served: BTreeMap<u16, Check>,
}

#[derive(Debug)]
struct Check {
    service: ServiceName,
    local_endpoints: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl HealthChecks {
    /// None yet.
    pub fn new(health: Arc<Health>) -> Self {
        Self { health, served: BTreeMap::new() }
    }

    /// Serves just these checks. Returns those whose port cannot be listened on, and why not.
    pub fn set(
        &mut self,
        checks: &BTreeMap<ServiceName, HealthCheck>,
    ) -> Vec<(ServiceName, std::io::Error)> {
        self.served.retain(|port, check| {
            let keep = checks.get(&check.service).is_some_and(|wanted| wanted.port == *port);
            if !keep {
                check.stop.cancel();
            }
            keep
        });
        let mut refused = Vec::new();
        for (service, &HealthCheck { port, local_endpoints: count }) in checks {
            match self.served.get(&port) {
                Some(check) if check.service == *service => {
                    check.local_endpoints.store(count, Ordering::Relaxed);
                }
                Some(_) => {
                    refused.push((service.clone(), std::io::ErrorKind::AddrInUse.into()));
                }
                None => match listen(port) {
                    Ok(listener) => self.serve(listener, service, port, count),
                    Err(error) => refused.push((service.clone(), error)),
                },
            }
        }
        refused
    }

    fn serve(&mut self, listener: TcpListener, service: &ServiceName, port: u16, count: usize) {
        let local_endpoints = Arc::new(AtomicUsize::new(count));
        let stop = CancellationToken::new();
        let (counter, name, health) =
            (local_endpoints.clone(), service.clone(), self.health.clone());
        let answer = move |_: &str| {
            let healthy = health.is_healthy(Instant::now());
            answer(&name, counter.load(Ordering::Relaxed), healthy)
        };
        tokio::spawn(http::serve(listener, answer, stop.clone()));
        self.served.insert(port, Check { service: service.clone(), local_endpoints, stop });
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        self.served.values().for_each(|check| check.stop.cancel());
    }
}

/// On every address of both families; on IPv4's alone where IPv6 is off.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let (both, v4) = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::from([0, 0, 0, 0]));
    let listen = |socket: TcpSocket, address| {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(address, port))?;
        socket.listen(16)
    };
    match TcpSocket::new_v6().and_then(|socket| listen(socket, both)) {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            listen(TcpSocket::new_v4()?, v4)
        }
        outcome => outcome,
    }
}

/// Upstream's format, which cloud load balancers read.
fn answer(service: &ServiceName, count: usize, healthy: bool) -> Answer {
    let good = count > 0 && healthy;
    let body = json!({
        "service": { "namespace": *service.namespace, "name": *service.name },
        "localEndpoints": count,
        "serviceProxyHealthy": healthy,
    });
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let header = Some(("x-load-balancing-endpoint-weight", count.to_string()));
    Answer { header, ..Answer::json(status, &body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancer_is_told_how_many_endpoints_are_here() {
        let service = ServiceName::new("shop", "web");
        for (count, healthy, code) in [(2, true, 200), (0, true, 503), (2, false, 503)] {
            let answer = answer(&service, count, healthy);
            assert_eq!(answer.status.as_u16(), code);
            let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
            assert_eq!(body["localEndpoints"], count);
            assert_eq!(body["serviceProxyHealthy"], healthy);
            assert_eq!(answer.header.expect("a weight").1, count.to_string());
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_said_and_hurts_nobody_else() {
        let taken = listen(0).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let free = {
            let probe = listen(0).expect("a free port");
            probe.local_addr().expect("bound").port()
        };
        let check = |port| HealthCheck { port, local_endpoints: 1 };
        let (unlucky, lucky) = (ServiceName::new("shop", "a"), ServiceName::new("shop", "b"));
        let checks = [(unlucky.clone(), check(port)), (lucky, check(free))].into();
        let mut health_checks = HealthChecks::new(Arc::default());
        let refused = health_checks.set(&checks);
        assert_eq!(refused.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&unlucky]);
        assert!(health_checks.served.contains_key(&free));
    }
}
