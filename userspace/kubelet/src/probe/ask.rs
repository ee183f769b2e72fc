//! One question to a container: a command, an HTTP request, a connection, or a gRPC health check.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::{Target, http};
use crate::kubelet::Kubelet;

/// The most of a command's output that an event shows.
const MOST_OUTPUT: usize = 10 << 10;

/// Ok, or what went wrong, for the event.
pub(crate) async fn ask(
    kubelet: &Kubelet,
    target: &Target,
    probe: &Probe,
    limit: Duration,
) -> Result<(), String> {
    if let Some(action) = &probe.exec {
        let command = action.command.clone().unwrap_or_default();
        return exec(kubelet, &target.id, command, limit).await;
    }
    let host = target.address.map(|address| address.to_string());
    let within = async {
        if let Some(action) = &probe.http_get {
            let port = port(&target.container, &action.port)?;
            let host = action.host.clone().filter(|host| !host.is_empty()).or(host);
            return http::get(&host.ok_or("the pod has no address")?, port, action).await;
        }
        if let Some(action) = &probe.tcp_socket {
            let port = port(&target.container, &action.port)?;
            let host = action.host.clone().filter(|host| !host.is_empty()).or(host);
            let host = host.ok_or("the pod has no address")?;
            let connected = TcpStream::connect((host.as_str(), port)).await;
            return connected.map(drop).map_err(|error| format!("dial tcp {host}:{port}: {error}"));
        }
        if let Some(action) = &probe.grpc {
            let host = host.ok_or("the pod has no address")?;
            let port = u16::try_from(action.port).map_err(|_| "the port is out of range")?;
            return health(&host, port, action.service.clone().unwrap_or_default()).await;
        }
        Err("the probe names no action".to_owned())
    };
    match tokio::time::timeout(limit, within).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn exec(
    kubelet: &Kubelet,
    id: &str,
    command: Vec<String>,
    limit: Duration,
) -> Result<(), String> {
    let ran =
        kubelet.runtime.exec_sync(id, command, limit).await.map_err(|error| error.message())?;
    if ran.exit_code == 0 {
        return Ok(());
    }
    let output = [ran.stdout, ran.stderr].concat();
    let shown = &output[..output.len().min(MOST_OUTPUT)];
    Err(String::from_utf8_lossy(shown).into_owned())
}

/// A number, or the name of one of the container's ports.
pub(crate) fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten();
            let mut named = named.filter(|port| port.name.as_deref() == Some(name));
            named.next().map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("the container has no port {port:?}"))
}

/// The two messages of the health protocol.
mod message {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(string, tag = "1")]
        pub(super) service: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Response {
        #[prost(int32, tag = "1")]
        pub(super) status: i32,
    }
}

/// `SERVING` in the health protocol.
const SERVING: i32 = 1;

async fn health(host: &str, port: u16, service: String) -> Result<(), String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{host}:{port}"))
        .map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| format!("{host}:{port}: {error}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let codec = tonic_prost::ProstCodec::<message::Request, message::Response>::default();
    let path = http::health_path();
    let request = tonic::Request::new(message::Request { service });
    let answer = client.unary(request, path, codec).await.map_err(|s| s.message().to_owned())?;
    match answer.into_inner().status {
        SERVING => Ok(()),
        status => Err(format!("service unhealthy (responded with {status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_by_number_and_name() {
        let container = serde_json::from_value(
            json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}),
        )
        .unwrap();
        for (wish, expected) in [
            (IntOrString::Int(80), Some(80)),
            (IntOrString::String("web".into()), Some(8080)),
            (IntOrString::String("81".into()), Some(81)),
            (IntOrString::String("no".into()), None),
            (IntOrString::Int(0), None),
            (IntOrString::Int(70_000), None),
        ] {
            assert_eq!(port(&container, &wish).ok(), expected, "{wish:?}");
        }
    }
}
