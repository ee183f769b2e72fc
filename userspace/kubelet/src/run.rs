//! Putting the parts of a kubelet together.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use skep_cri::Runtime;
use tokio_util::sync::CancellationToken;

use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::events::Recorder;
use crate::images::Images;
use crate::kubelet::Kubelet;
use crate::machine::Machine;
use crate::objects::Objects;
use crate::tokens::Tokens;
use crate::{eviction, logs, node, pods, server};

/// How long containers wait for the list of services.
const SERVICES: std::time::Duration = std::time::Duration::from_secs(10);

/// Runs a node's kubelet until `shutdown`. Pods go on running after it.
///
/// # Errors
/// When the root folder cannot be made, the runtime never answers, or the port is taken.
pub async fn run(
    config: Config,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.root)
        .with_context(|| format!("--root-dir: cannot make {}", config.root.display()))?;
    let runtime = Runtime::new(&config.runtime);
    let Some(runtime_name) = wait_for_runtime(&runtime, &shutdown).await else { return Ok(()) };
    let (services, writer) = reflector::store();
    let watch = watcher(Api::<Service>::all(client.clone()), watcher::Config::default());
    let follow = reflector(writer, watch.default_backoff());
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let follow = follow.for_each(|event| async move {
            if let Err(error) = event {
                tracing::warn!(%error, "cannot watch services");
            }
        });
        tokio::select! {
            () = stop.cancelled() => {}
            () = follow => {}
        }
    });
    let kubelet = Arc::new(Kubelet {
        machine: Machine::detect(&config.root),
        cgroups: Cgroups::new(&config.cgroup_root, config.cgroup_driver),
        objects: Objects::new(client.clone()),
        tokens: Tokens::new(client.clone()),
        images: Images::default(),
        events: Recorder::start(client.clone(), config.node_name.clone(), shutdown.clone()),
        services,
        pressure: parking_lot::RwLock::default(),
        config,
        client,
        runtime,
        runtime_name,
    });
    // Containers find the services in their environment: the list must be there before the first.
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        ready = tokio::time::timeout(SERVICES, kubelet.services.wait_until_ready()) => {
            if !matches!(ready, Ok(Ok(()))) {
                tracing::warn!("no list of services yet: containers start without their variables");
            }
        }
    }
    let known = Arc::new(parking_lot::RwLock::new(HashMap::new()));
    tokio::spawn(logs::rotate::run(kubelet.clone(), shutdown.clone()));
    let node = tokio::spawn(node::run(kubelet.clone(), shutdown.clone()));
    let (victims, doomed) = tokio::sync::mpsc::channel(1);
    tokio::spawn(eviction::run(kubelet.clone(), known.clone(), victims, shutdown.clone()));
    let pods = tokio::spawn(pods::run(kubelet.clone(), known.clone(), doomed, shutdown.clone()));
    // A server that cannot listen ends the kubelet; whatever ends it ends the rest as well.
    let served = server::run(kubelet, known, shutdown.clone()).await;
    shutdown.cancel();
    node.await.context("the task that keeps the node's object died")?;
    pods.await.context("the task that watches pods died")?;
    served
}

/// The runtime's name, once it answers; none if the kubelet is stopped before.
async fn wait_for_runtime(runtime: &Runtime, shutdown: &CancellationToken) -> Option<String> {
    let mut told = false;
    loop {
        match runtime.version().await {
            Ok(version) => return Some(version.runtime_name),
            Err(error) if !told => {
                tracing::warn!(%error, "waiting for the container runtime");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(std::time::Duration::from_millis(200)) => {}
        }
    }
}
