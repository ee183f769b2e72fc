//! The node's own object and its lease: made once, kept current, beaten every ten seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::events::Kind;
use crate::kubelet::Kubelet;

mod describe;
mod lease;
mod readiness;

/// How often the runtime is asked whether it is ready.
const CHECK: Duration = Duration::from_secs(10);
/// How often it is asked while it is not, so that a new node is usable at once.
const CHECK_UNREADY: Duration = Duration::from_secs(1);
/// Patience with an API server that does not take the node.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the node's object and lease until the kubelet stops.
pub(crate) async fn run(kubelet: Arc<Kubelet>, shutdown: CancellationToken) {
    let work = async {
        let node = register(&kubelet).await;
        kubelet.events.node(&node, Kind::Normal, "Starting", "Starting kubelet.");
        tokio::join!(lease::run(&kubelet, &node), report(&kubelet));
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// Makes the node's object, or brings the one that is there up to date; tries until it works.
async fn register(kubelet: &Kubelet) -> Node {
    loop {
        match try_register(kubelet).await {
            Ok(node) => {
                tracing::info!(node = kubelet.config.node_name, "the node is registered");
                return node;
            }
            Err(error) => tracing::warn!(%error, "cannot register the node yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn try_register(kubelet: &Kubelet) -> kube::Result<Node> {
    let nodes: Api<Node> = Api::all(kubelet.client.clone());
    let name = &kubelet.config.node_name;
    let labels = describe::labels(&kubelet.config);
    if let Some(old) = nodes.get_opt(name).await? {
        let have = old.metadata.labels.clone().unwrap_or_default();
        if labels.iter().all(|(key, value)| have.get(key) == Some(value)) {
            return Ok(old);
        }
        let patch = json!({"metadata": {"labels": labels}});
        return nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    }
    if !kubelet.config.register {
        return nodes.get(name).await;
    }
    let status = current(kubelet, None).await;
    nodes.create(&PostParams::default(), &describe::object(kubelet, labels, status)).await
}

async fn current(kubelet: &Kubelet, old: Option<&Node>) -> k8s_openapi::api::core::v1::NodeStatus {
    let readiness = readiness::ask(&kubelet.runtime).await;
    let images = kubelet.runtime.list_images().await.unwrap_or_default();
    let version = kubelet.runtime.version().await.ok();
    describe::status(kubelet, &readiness, images, version, old.and_then(|old| old.status.as_ref()))
}

/// Writes the status when it changes, and now and then when it does not.
async fn report(kubelet: &Kubelet) {
    let nodes: Api<Node> = Api::all(kubelet.client.clone());
    let name = &kubelet.config.node_name;
    let mut written: Option<Instant> = None;
    let mut pod_cidr = None;
    loop {
        let mut ready = false;
        match nodes.get(name).await {
            Ok(node) => {
                tell_runtime(kubelet, &node, &mut pod_cidr).await;
                let status = current(kubelet, Some(&node)).await;
                ready = is_ready(&status);
                let patch = describe::patch(node.status.as_ref(), &status);
                let due = written.is_none_or(|at| at.elapsed() >= kubelet.config.status_interval);
                if let Some(patch) = patch.or_else(|| due.then(|| describe::heartbeat(&status))) {
                    match write(&nodes, name, patch).await {
                        Ok(()) => written = Some(Instant::now()),
                        Err(error) => tracing::warn!(%error, "cannot write the node's status"),
                    }
                    tell_change(kubelet, &node, ready);
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                register(kubelet).await;
            }
            Err(error) => tracing::warn!(%error, "cannot read the node's object"),
        }
        tokio::time::sleep(if ready { CHECK } else { CHECK_UNREADY }).await;
    }
}

async fn write(nodes: &Api<Node>, name: &str, status: Value) -> kube::Result<()> {
    let patch = Patch::Strategic(json!({ "status": status }));
    nodes.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
}

fn is_ready(status: &k8s_openapi::api::core::v1::NodeStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn tell_change(kubelet: &Kubelet, old: &Node, ready: bool) {
    let was = old.status.as_ref().is_some_and(is_ready);
    if was != ready {
        let reason = if ready { "NodeReady" } else { "NodeNotReady" };
        let message = format!("Node {} status is now: {reason}", kubelet.config.node_name);
        kubelet.events.node(old, Kind::Normal, reason, message);
    }
}

/// Runtimes that make network configurations from a template want the node's range.
async fn tell_runtime(kubelet: &Kubelet, node: &Node, told: &mut Option<String>) {
    let Some(spec) = &node.spec else { return };
    let ranges = spec.pod_cidrs.clone().or_else(|| spec.pod_cidr.clone().map(|range| vec![range]));
    let Some(ranges) = ranges.map(|ranges| ranges.join(",")).filter(|r| !r.is_empty()) else {
        return;
    };
    if told.as_ref() == Some(&ranges) {
        return;
    }
    match kubelet.runtime.update_runtime_config(&ranges).await {
        Ok(()) => *told = Some(ranges),
        Err(error) => tracing::warn!(%error, "the runtime does not take the node's pod range"),
    }
}
