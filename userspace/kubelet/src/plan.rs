//! From a pod, what the runtime shows and what the worker remembers to the next actions: a pure
//! function. It waits for nothing and forgets nothing: asked again, it answers the same.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::identity;
use crate::memory::Memory;
use crate::observe::{Container, Observed};
use crate::resources::Amounts;
use crate::role::{self, Role};
use crate::status;

pub(crate) mod up;

/// Something to do now. Every action is idempotent and finishes in the background.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Mount the volumes, stop what is left of older sandboxes, make a new one.
    MakeSandbox { attempt: u32 },
    /// Stop a sandbox and take its network down.
    StopSandbox { id: String },
    /// Get the image, make and start the container, run its hook.
    Start { name: String, attempt: u32 },
    /// Run the hook, signal, wait, kill.
    Stop { id: String, name: String, grace: SignedDuration, why: Why },
    /// Give a running container the resources that its pod now asks for.
    Resize { id: String, name: String, amounts: Amounts },
    /// Remove a container that was made but never ran.
    Remove { id: String },
    /// Stop what was begun for containers that will not be needed.
    CancelStart,
    /// Unmount the volumes, remove the control group.
    TearDown,
    /// Tell the API server that nothing is left.
    Delete,
    /// Forget the pod: remove its containers, sandboxes and folders.
    Forget,
}

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The pod ends.
    PodEnds,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Its image changed.
    Changed,
    /// Its resources changed, and it wants a restart for that.
    Resized,
    /// Its sandbox is gone.
    SandboxGone,
}

/// What to do, what to report, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: PodStatus,
    pub(crate) wake_at: Option<Timestamp>,
    /// The pod has ended for good, or is ending.
    pub(crate) ending: bool,
}

/// The plan for one pod. `now` is the only clock.
pub(crate) fn plan(pod: &Pod, observed: &Observed, memory: &Memory, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let deadline = deadline(pod);
    let overdue = deadline.is_some_and(|deadline| deadline <= now);
    plan.status = status::status(pod, observed, memory, overdue, now);
    let finished = matches!(plan.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let deleted = pod.metadata.deletion_timestamp.is_some() || memory.gone;
    plan.ending = deleted || finished;
    if plan.ending {
        wind_down(pod, observed, memory, deleted, &mut plan);
    } else {
        up::bring_up(pod, observed, memory, now, &mut plan);
        plan.wake_by(deadline);
    }
    plan
}

impl Plan {
    /// Looks again at `time` at the latest.
    fn wake_by(&mut self, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.wake_at = Some(self.wake_at.map_or(time, |wake_at| wake_at.min(time)));
        }
    }
}

/// When the pod has had its time.
fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Stops containers, sidecars last and in reverse, then the sandbox, then all that is left.
fn wind_down(pod: &Pod, observed: &Observed, memory: &Memory, deleted: bool, plan: &mut Plan) {
    if memory.jobs.starting.is_some() || memory.jobs.sandbox {
        plan.actions.push(Action::CancelStart);
    }
    let grace = identity::grace_period(pod).max(SignedDuration::from_secs(0));
    let running: Vec<&Container> = observed.running().collect();
    for container in stoppable(pod, &running) {
        plan.stop(container, memory, grace, Why::PodEnds);
    }
    let busy =
        memory.jobs.starting.is_some() || memory.jobs.sandbox || !memory.jobs.stopping.is_empty();
    if busy || !running.is_empty() {
        return;
    }
    let ready: Vec<_> = observed.sandboxes.iter().filter(|sandbox| sandbox.ready).collect();
    if !ready.is_empty() {
        plan.actions.extend(ready.iter().map(|s| Action::StopSandbox { id: s.id.clone() }));
    } else if memory.gone {
        plan.actions.push(Action::Forget);
    } else if !memory.torn_down {
        if !memory.jobs.teardown {
            plan.actions.push(Action::TearDown);
        }
    } else if deleted {
        plan.actions.push(Action::Delete);
    }
}

/// Of what runs, what may be stopped now: a sidecar waits for the pod's work and for the sidecars
/// that were started after it.
fn stoppable<'a>(pod: &Pod, running: &[&'a Container]) -> Vec<&'a Container> {
    let sidecars: Vec<String> = role::first(pod)
        .iter()
        .filter(|member| member.role == Role::Sidecar)
        .map(|member| member.name().to_owned())
        .collect();
    let position = |container: &Container| sidecars.iter().position(|name| *name == container.name);
    let work: Vec<&Container> =
        running.iter().copied().filter(|container| position(container).is_none()).collect();
    if work.is_empty() {
        running.iter().copied().max_by_key(|container| position(container)).into_iter().collect()
    } else {
        work
    }
}

impl Plan {
    /// Stops a container unless that is under way with no more grace than this.
    fn stop(&mut self, container: &Container, memory: &Memory, grace: SignedDuration, why: Why) {
        if memory.jobs.stopping.get(&container.id).is_none_or(|given| grace < *given) {
            let (id, name) = (container.id.clone(), container.name.clone());
            self.actions.push(Action::Stop { id, name, grace, why });
        }
    }
}

#[cfg(test)]
mod tests;
