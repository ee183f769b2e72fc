//! Lifecycle hooks: what a container wants done after its start and before its end.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::kubelet::Kubelet;
use crate::probe::{ask, http};

/// Runs a hook to its end. The error is for the pod's events.
pub(crate) async fn run(
    kubelet: &Kubelet,
    container: &Container,
    id: &str,
    address: Option<IpAddr>,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let command = action.command.clone().unwrap_or_default();
        let ran = kubelet
            .runtime
            .exec_sync(id, command, Duration::ZERO)
            .await
            .map_err(|error| error.message())?;
        return match ran.exit_code {
            0 => Ok(()),
            code => Err(format!(
                "the command exited with {code}: {}",
                String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat())
            )),
        };
    }
    if let Some(action) = &handler.http_get {
        let host = action.host.clone().filter(|host| !host.is_empty());
        let host = host.or(address.map(|address| address.to_string()));
        let host = host.ok_or("the pod has no address")?;
        return http::get(&host, ask::port(container, &action.port)?, action).await;
    }
    if let Some(action) = &handler.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    Err("the hook names no action that containers have".into())
}
