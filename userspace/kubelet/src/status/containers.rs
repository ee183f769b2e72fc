//! The state of each container, in the words of the API.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::memory::Memory;
use crate::observe::{Container, Observed, Stage};
use crate::plan::up::crash_backoff;
use crate::resources::Amounts;
use crate::role::{self, Member, Role};
use crate::status::go_duration;

/// What the container states are made from.
pub(super) struct View<'a> {
    pub(super) pod: &'a Pod,
    pub(super) observed: &'a Observed,
    pub(super) memory: &'a Memory,
    pub(super) now: Timestamp,
    /// The pod ends: nothing starts again.
    pub(super) ending: bool,
}

impl View<'_> {
    pub(super) fn init(&self) -> Option<Vec<ContainerStatus>> {
        let members = role::first(self.pod);
        (!members.is_empty()).then(|| members.iter().map(|member| self.one(member)).collect())
    }

    pub(super) fn main(&self) -> Vec<ContainerStatus> {
        role::main(self.pod).iter().map(|member| self.one(member)).collect()
    }

    pub(super) fn ephemeral(&self) -> Option<Vec<ContainerStatus>> {
        let members = role::ephemeral(self.pod);
        (!members.is_empty()).then(|| members.iter().map(|member| self.one(member)).collect())
    }

    fn one(&self, member: &Member) -> ContainerStatus {
        let spec = &member.container;
        let Some(container) = self.observed.newest(member.name()) else {
            return self.absent(member);
        };
        let mut status = ContainerStatus {
            name: spec.name.clone(),
            image: container.image.clone(),
            image_id: container.image_id.clone(),
            container_id: Some(container.uri.clone()),
            restart_count: i32::try_from(container.attempt).unwrap_or(i32::MAX),
            started: Some(self.is_started(member, container)),
            ready: self.is_ready(member, container),
            last_state: self.last_state(member.name(), container),
            ..self.blank(member)
        };
        let wanted = Amounts::of(spec.resources.as_ref());
        if self.memory.amounts_of(container).is_some_and(|given| given != wanted)
            && let Some(old) = self.recorded(member.name())
        {
            // Not given yet: the old resources are what it has.
            status.resources.clone_from(&old.resources);
        }
        let ended = matches!(container.stage, Stage::Exited | Stage::Unknown);
        status.state = Some(match container.stage {
            Stage::Running => running(container),
            Stage::Exited | Stage::Unknown => self.ended(container),
            Stage::Created => self.not_started(member),
        });
        if ended
            && !self.ending
            && member.restarts(self.pod, container.exit_code)
            && let Some(reason) = self.restart_wait(member, container)
        {
            status.last_state = status.state.replace(reason);
        }
        status
    }

    /// Why a container that has ended and should run again does not yet.
    fn restart_wait(&self, member: &Member, container: &Container) -> Option<ContainerState> {
        if let Some(wait) = self.memory.waiting.get(member.name()) {
            return Some(waiting(&wait.reason, Some(wait.message.clone())));
        }
        crash_backoff(self.memory, container, self.now)?;
        let delay = self.memory.backoffs.get(member.name())?.delay().unsigned_abs();
        let meta = &self.pod.metadata;
        let message = format!(
            "back-off {} restarting failed container={} pod={}_{}({})",
            go_duration(delay),
            member.name(),
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default(),
        );
        Some(waiting("CrashLoopBackOff", Some(message)))
    }

    /// A container that the runtime does not know.
    fn absent(&self, member: &Member) -> ContainerStatus {
        let blank = self.blank(member);
        let old = self.recorded(member.name()).filter(|old| old.container_id.is_some());
        if let Some(old) = old {
            let was_ended = old.state.as_ref().is_some_and(|state| state.terminated.is_some());
            if was_ended || self.ending {
                let state = if was_ended { old.state.clone() } else { Some(not_located()) };
                return ContainerStatus {
                    state,
                    ready: was_ended && old.ready,
                    started: Some(false),
                    ..old.clone()
                };
            }
        }
        if self.ending && self.observed.running().next().is_none() {
            return ContainerStatus { state: Some(not_located()), ..blank };
        }
        let state = match self.memory.waiting.get(member.name()) {
            Some(wait) => waiting(&wait.reason, Some(wait.message.clone())),
            None => self.not_started(member),
        };
        ContainerStatus { state: Some(state), ..blank }
    }

    /// Why a container waits that nothing has gone wrong with.
    fn not_started(&self, member: &Member) -> ContainerState {
        let initializes = member.role != Role::Ephemeral && !role::first(self.pod).is_empty();
        waiting(if initializes { "PodInitializing" } else { "ContainerCreating" }, None)
    }

    fn blank(&self, member: &Member) -> ContainerStatus {
        let spec = &member.container;
        let mounts = spec.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: mount
                .read_only
                .filter(|read_only| *read_only)
                .map(|_| mount.recursive_read_only.clone().unwrap_or_else(|| "Disabled".into())),
            ..VolumeMountStatus::default()
        });
        let mounts: Vec<VolumeMountStatus> = mounts.collect();
        let allocated = spec.resources.as_ref().and_then(|resources| resources.requests.clone());
        ContainerStatus {
            name: spec.name.clone(),
            image: spec.image.clone().unwrap_or_default(),
            started: Some(false),
            last_state: Some(ContainerState::default()),
            resources: spec.resources.clone(),
            allocated_resources: allocated.filter(|allocated| !allocated.is_empty()),
            volume_mounts: (!mounts.is_empty()).then_some(mounts),
            ..ContainerStatus::default()
        }
    }

    fn is_started(&self, member: &Member, container: &Container) -> bool {
        container.stage == Stage::Running
            && (member.container.startup_probe.is_none()
                || self.memory.verdicts.get(&container.id).is_some_and(|v| v.startup == Some(true)))
    }

    fn is_ready(&self, member: &Member, container: &Container) -> bool {
        match member.role {
            Role::Init => container.stage == Stage::Exited && container.exit_code == 0,
            Role::Ephemeral => false,
            Role::Main | Role::Sidecar => {
                self.is_started(member, container)
                    && (member.container.readiness_probe.is_none()
                        || self
                            .memory
                            .verdicts
                            .get(&container.id)
                            .is_some_and(|verdicts| verdicts.readiness == Some(true)))
            }
        }
    }

    /// What the API server was told last.
    fn recorded(&self, name: &str) -> Option<&ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        let mut all =
            status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        all.find(|old| old.name == name)
    }

    fn last_state(&self, name: &str, container: &Container) -> Option<ContainerState> {
        let previous = self.observed.previous(name).map(|previous| self.ended(previous));
        // The runtime may have forgotten the one before; the API server has not.
        let recorded = || {
            let old = self.recorded(name)?;
            let same = old.container_id.as_deref() == Some(&container.uri);
            let state = if same { old.last_state.clone() } else { old.state.clone() };
            state.filter(|state| state.terminated.is_some())
        };
        Some(previous.or_else(recorded).unwrap_or_default())
    }

    fn ended(&self, container: &Container) -> ContainerState {
        if container.stage == Stage::Unknown {
            return ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: 137,
                    reason: Some("ContainerStatusUnknown".into()),
                    message: Some(
                        "The container could not be located when the pod was terminated".into(),
                    ),
                    container_id: Some(container.uri.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            };
        }
        let words = self.memory.last_words.get(&container.id).cloned();
        let message = words
            .filter(|words| !words.is_empty())
            .or_else(|| (!container.message.is_empty()).then(|| container.message.clone()));
        ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: container.exit_code,
                reason: Some(container.reason.clone()),
                message,
                started_at: container.started_at.map(Time),
                finished_at: container.finished_at.map(Time),
                container_id: Some(container.uri.clone()),
                signal: None,
            }),
            ..Default::default()
        }
    }
}

fn running(container: &Container) -> ContainerState {
    let started_at = container.started_at.map(Time);
    ContainerState { running: Some(ContainerStateRunning { started_at }), ..Default::default() }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

fn not_located() -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}
