//! What the runtime shows of one pod, as plain values.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use skep_cri::v1::{ContainerState, ContainerStatus, PodSandboxState, PodSandboxStatus};
use skep_cri::{Result, Runtime};

use crate::identity::{self, PodId};
use crate::resources::Amounts;

/// One look at a pod, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    pub(crate) sandboxes: Vec<Sandbox>,
    pub(crate) containers: Vec<Container>,
}

/// A pod's shared namespaces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) ready: bool,
    pub(crate) addresses: Vec<IpAddr>,
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Created,
    Running,
    Exited,
    Unknown,
}

/// One container, past or present.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// As the API writes it: `containerd://...`.
    pub(crate) uri: String,
    pub(crate) sandbox: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) stage: Stage,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) hash: String,
    /// What it was made with; none if that was not written down.
    pub(crate) amounts: Option<Amounts>,
    pub(crate) log_path: String,
}

impl Observed {
    /// The sandbox that the pod runs in now.
    pub(crate) fn current(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest container of this name.
    pub(crate) fn newest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The container of this name before the newest.
    pub(crate) fn previous(&self, name: &str) -> Option<&Container> {
        self.containers.iter().filter(|container| container.name == name).nth(1)
    }

    /// Everything that runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.stage == Stage::Running)
    }

    /// Asks the runtime.
    pub(crate) async fn look(runtime: &Runtime, runtime_name: &str, pod: &PodId) -> Result<Self> {
        let mut sandboxes = Vec::new();
        for item in runtime.list_pod_sandboxes(pod.selector()).await? {
            match runtime.pod_sandbox_status(&item.id).await {
                Ok(status) => sandboxes.push((item.created_at, sandbox(&status))),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let mut containers = Vec::new();
        for item in runtime.list_containers(pod.selector()).await? {
            match runtime.container_status(&item.id).await {
                Ok(status) => {
                    containers.push(container(&status, runtime_name, item.pod_sandbox_id));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        sandboxes.sort_by_key(|(created_at, _)| std::cmp::Reverse(*created_at));
        containers
            .sort_by_key(|container| std::cmp::Reverse((container.attempt, container.created_at)));
        let sandboxes = sandboxes.into_iter().map(|(_, sandbox)| sandbox).collect();
        Ok(Self { sandboxes, containers })
    }
}

fn sandbox(status: &PodSandboxStatus) -> Sandbox {
    let network = status.network.as_ref();
    let first = network.map(|network| network.ip.as_str());
    let more =
        network.iter().flat_map(|network| network.additional_ips.iter().map(|ip| ip.ip.as_str()));
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
        ready: status.state() == PodSandboxState::SandboxReady,
        addresses: first.into_iter().chain(more).filter_map(|ip| ip.parse().ok()).collect(),
    }
}

fn container(status: &ContainerStatus, runtime_name: &str, sandbox: String) -> Container {
    let label =
        |labels: &HashMap<String, String>, key: &str| labels.get(key).cloned().unwrap_or_default();
    Container {
        id: status.id.clone(),
        uri: format!("{runtime_name}://{}", status.id),
        sandbox,
        name: label(&status.labels, identity::CONTAINER_NAME),
        attempt: status.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
        stage: match status.state() {
            ContainerState::ContainerCreated => Stage::Created,
            ContainerState::ContainerRunning => Stage::Running,
            ContainerState::ContainerExited => Stage::Exited,
            ContainerState::ContainerUnknown => Stage::Unknown,
        },
        created_at: time(status.created_at).unwrap_or_default(),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        image: status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
        image_id: status.image_ref.clone(),
        hash: label(&status.annotations, identity::CONTAINER_HASH),
        amounts: Amounts::from_text(&label(&status.annotations, identity::RESOURCES)),
        log_path: status.log_path.clone(),
    }
}

/// The runtime's nanoseconds in whole seconds, as the API keeps them; zero means never.
fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_second(nanoseconds / 1_000_000_000).ok()).flatten()
}
