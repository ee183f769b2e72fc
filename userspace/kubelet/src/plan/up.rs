//! Bringing a pod up and keeping it up: sandbox, init containers in order, containers together.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Probe};

use super::{Action, Plan, Why};
use crate::identity;
use crate::memory::Memory;
use crate::observe::{Container, Observed, Sandbox, Stage};
use crate::resources::Amounts;
use crate::role::{self, Member, Role};

pub(super) fn bring_up(
    pod: &Pod,
    observed: &Observed,
    memory: &Memory,
    now: Timestamp,
    plan: &mut Plan,
) {
    if memory.jobs.sandbox {
        return;
    }
    let Some(sandbox) = observed.current() else {
        return replace_sandbox(pod, observed, memory, now, plan);
    };
    for older in observed.sandboxes.iter().skip(1).filter(|older| older.ready) {
        plan.actions.push(Action::StopSandbox { id: older.id.clone() });
    }
    let turn = Turn { pod, observed, memory, now, sandbox };
    if turn.initialize(plan) {
        for member in role::main(pod).iter().chain(&role::ephemeral(pod)) {
            turn.keep(member, plan);
        }
    }
}

/// Nothing may run in a sandbox that is not ready; when nothing does, a new one is made.
fn replace_sandbox(
    pod: &Pod,
    observed: &Observed,
    memory: &Memory,
    now: Timestamp,
    plan: &mut Plan,
) {
    let grace = identity::grace_period(pod);
    for container in observed.running() {
        plan.stop(container, memory, grace, Why::SandboxGone);
    }
    if observed.running().next().is_some() || memory.jobs.starting.is_some() {
        return;
    }
    match memory.sandbox_retry {
        Some(retry) if retry > now => plan.wake_by(Some(retry)),
        _ => {
            let attempt = observed.sandboxes.first().map_or(0, |sandbox| sandbox.attempt + 1);
            plan.actions.push(Action::MakeSandbox { attempt });
        }
    }
}

struct Turn<'a> {
    pod: &'a Pod,
    observed: &'a Observed,
    memory: &'a Memory,
    now: Timestamp,
    sandbox: &'a Sandbox,
}

impl Turn<'_> {
    /// Moves the init containers on; true when the pod's work may run.
    fn initialize(&self, plan: &mut Plan) -> bool {
        let first = role::first(self.pod);
        let begun = role::main(self.pod).iter().any(|member| self.here(member).is_some());
        let mut complete = true;
        for member in &first {
            if !complete {
                break;
            }
            match member.role {
                Role::Sidecar => {
                    self.keep(member, plan);
                    complete =
                        begun || self.here(member).is_some_and(|c| self.is_started(member, c));
                }
                _ if begun => {}
                _ => {
                    complete = self
                        .here(member)
                        .is_some_and(|c| c.stage == Stage::Exited && c.exit_code == 0);
                    if !complete {
                        self.keep(member, plan);
                    }
                }
            }
        }
        complete
    }

    /// The newest container of a member in the present sandbox.
    fn here(&self, member: &Member) -> Option<&Container> {
        self.observed.newest(member.name()).filter(|container| container.sandbox == self.sandbox.id)
    }

    fn is_started(&self, member: &Member, container: &Container) -> bool {
        container.stage == Stage::Running
            && self.memory.jobs.starting.as_deref() != Some(member.name())
            && (member.container.startup_probe.is_none()
                || self.verdicts(container).startup == Some(true))
    }

    fn verdicts(&self, container: &Container) -> crate::memory::Verdicts {
        self.memory.verdicts.get(&container.id).copied().unwrap_or_default()
    }

    /// Starts what should run and does not, stops what runs and should not.
    fn keep(&self, member: &Member, plan: &mut Plan) {
        let Some(container) = self.here(member) else {
            return self.start(member, plan);
        };
        match container.stage {
            Stage::Running => self.check(member, container, plan),
            Stage::Created => {
                if self.memory.jobs.starting.as_deref() != Some(member.name()) {
                    plan.actions.push(Action::Remove { id: container.id.clone() });
                }
            }
            Stage::Exited | Stage::Unknown => {
                let again = member.restarts(self.pod, container.exit_code)
                    || self.is_changed(member, container) && member.role != Role::Ephemeral;
                match crash_backoff(self.memory, container, self.now) {
                    _ if !again => {}
                    Some(until) => plan.wake_by(Some(until)),
                    None => self.start(member, plan),
                }
            }
        }
    }

    fn is_changed(&self, member: &Member, container: &Container) -> bool {
        member.role != Role::Ephemeral
            && !container.hash.is_empty()
            && container.hash != identity::container_hash(&member.container)
    }

    fn check(&self, member: &Member, container: &Container, plan: &mut Plan) {
        let verdicts = self.verdicts(container);
        let pod_grace = identity::grace_period(self.pod);
        let of = |probe: Option<&Probe>| {
            let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
            own.map_or(pod_grace, SignedDuration::from_secs)
        };
        if self.is_changed(member, container) {
            plan.stop(container, self.memory, pod_grace, Why::Changed);
        } else if verdicts.liveness == Some(false) {
            let grace = of(member.container.liveness_probe.as_ref());
            plan.stop(container, self.memory, grace, Why::Liveness);
        } else if verdicts.startup == Some(false) {
            let grace = of(member.container.startup_probe.as_ref());
            plan.stop(container, self.memory, grace, Why::Startup);
        } else if member.role != Role::Ephemeral {
            self.resize(member, container, plan);
        }
    }

    /// Resources that changed are given to the running container, or to its successor where the
    /// container wants a restart for them.
    fn resize(&self, member: &Member, container: &Container, plan: &mut Plan) {
        let wanted = Amounts::of(member.container.resources.as_ref());
        let Some(given) = self.memory.amounts_of(container).filter(|given| *given != wanted) else {
            return;
        };
        let policies = member.container.resize_policy.as_deref().unwrap_or_default();
        let restarts = |resource: &str| {
            policies
                .iter()
                .any(|p| p.resource_name == resource && p.restart_policy == "RestartContainer")
        };
        let cpu = (given.cpu_request_milli, given.cpu_limit_milli)
            != (wanted.cpu_request_milli, wanted.cpu_limit_milli);
        let memory = (given.memory_request_bytes, given.memory_limit_bytes)
            != (wanted.memory_request_bytes, wanted.memory_limit_bytes);
        if cpu && restarts("cpu") || memory && restarts("memory") {
            plan.stop(container, self.memory, identity::grace_period(self.pod), Why::Resized);
        } else if self.memory.jobs.resizing.is_none()
            && !plan.actions.iter().any(|action| matches!(action, Action::Resize { .. }))
        {
            let (id, name) = (container.id.clone(), container.name.clone());
            plan.actions.push(Action::Resize { id, name, amounts: wanted });
        }
    }

    /// Starts a member, one at a time, unless its last attempt asks for patience.
    fn start(&self, member: &Member, plan: &mut Plan) {
        let name = member.name();
        let begun = plan.actions.iter().any(|action| matches!(action, Action::Start { .. }));
        if self.memory.jobs.starting.is_some() || begun {
            return;
        }
        if let Some(waiting) = self.memory.waiting.get(name)
            && waiting.retry_at > self.now
        {
            return plan.wake_by(Some(waiting.retry_at));
        }
        let attempt = self
            .observed
            .newest(name)
            .map_or_else(|| recorded_attempt(self.pod, name), |container| container.attempt + 1);
        plan.actions.push(Action::Start { name: name.to_owned(), attempt });
    }
}

/// Until when a container that ended may not start again.
pub(crate) fn crash_backoff(
    memory: &Memory,
    ended: &Container,
    now: Timestamp,
) -> Option<Timestamp> {
    let since = ended.finished_at.unwrap_or(ended.created_at);
    memory.backoffs.get(&ended.name)?.blocked_until(since, now)
}

/// Where the count goes on when the runtime has forgotten the container.
fn recorded_attempt(pod: &Pod, name: &str) -> u32 {
    let Some(status) = &pod.status else { return 0 };
    let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.find(|old| old.name == name && old.container_id.is_some())
        .and_then(|old| u32::try_from(old.restart_count + 1).ok())
        .unwrap_or(0)
}

/// How long an attempt that failed before the container ran is left alone.
pub(crate) const RETRY: SignedDuration = SignedDuration::from_secs(2);
