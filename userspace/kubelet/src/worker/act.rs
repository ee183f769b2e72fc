//! Doing what was planned, in the background, and noting what came of it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio_util::sync::CancellationToken;

use super::{Done, Worker};
use crate::events::{Kind, container_field};
use crate::hook;
use crate::observe::Stage;
use crate::plan::up::RETRY;
use crate::plan::{Action, Plan, Why};
use crate::qos::Class;
use crate::resources::Amounts;
use crate::role;
use crate::start::{self, Place};
use crate::volume::setup;

/// After its hook a container has at least this long to stop.
const LEAST_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Starts every action. `told`: the API server has the pod's present status.
    pub(super) fn act(&mut self, plan: Plan, told: bool) {
        for action in plan.actions {
            match action {
                Action::MakeSandbox { attempt } => self.make_sandbox(attempt),
                Action::StopSandbox { id } => {
                    let kubelet = self.kubelet.clone();
                    self.job(
                        "stop sandbox",
                        async move { kubelet.runtime.stop_pod_sandbox(&id).await },
                    );
                }
                Action::Start { name, attempt } => self.start(&name, attempt),
                Action::Stop { id, name, grace, why } => self.stop(id, &name, grace, why),
                Action::Resize { id, name, amounts } => self.resize(id, name, amounts),
                Action::Remove { id } => {
                    let kubelet = self.kubelet.clone();
                    self.job("remove container", async move {
                        kubelet.runtime.remove_container(&id).await
                    });
                }
                Action::CancelStart => self.start.cancel(),
                Action::TearDown => self.tear_down(),
                Action::Delete if told => self.delete(),
                Action::Delete => {}
                Action::Forget => self.forget(),
            }
        }
    }

    fn job<F>(&mut self, what: &'static str, work: F)
    where
        F: Future<Output = skep_cri::Result<()>> + Send + 'static,
    {
        let id = self.id.clone();
        self.jobs.spawn(async move {
            if let Err(error) = work.await {
                tracing::warn!(pod = %id, %error, "cannot {what}");
                // The next turn tries again; not at once.
                tokio::time::sleep(RETRY.unsigned_abs()).await;
            }
            Done::Other
        });
    }

    fn make_sandbox(&mut self, attempt: u32) {
        self.memory.jobs.sandbox = true;
        self.start = CancellationToken::new();
        let older: Vec<String> = self.observed.sandboxes.iter().map(|old| old.id.clone()).collect();
        if !older.is_empty() {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.kubelet.events.pod(&self.pod, None, Kind::Normal, "SandboxChanged", message);
        }
        let (kubelet, pod, id) = (self.kubelet.clone(), self.pod.clone(), self.id.clone());
        let cancel = self.start.clone();
        self.jobs.spawn(async move {
            let work = start::make_sandbox(&kubelet, &pod, &id, attempt, older);
            Done::Sandbox(tokio::select! {
                outcome = work => outcome,
                () = cancel.cancelled() => Err(("", "the pod ends".to_owned())),
            })
        });
    }

    fn start(&mut self, name: &str, attempt: u32) {
        let (Some(member), Some(sandbox)) = (
            role::all(&self.pod).into_iter().find(|member| member.name() == name),
            self.observed.current().cloned(),
        ) else {
            return;
        };
        if self.observed.newest(name).is_some_and(|old| old.stage != Stage::Running) {
            self.memory.backoffs.entry(name.to_owned()).or_default().advance(Timestamp::now());
        }
        self.memory.jobs.starting = Some(name.to_owned());
        self.start = CancellationToken::new();
        let target = self.target_of(name);
        let place = Place { sandbox, attempt, target };
        let (kubelet, pod, id) = (self.kubelet.clone(), self.pod.clone(), self.id.clone());
        let (cancel, name) = (self.start.clone(), name.to_owned());
        self.jobs.spawn(async move {
            let work = start::start_container(&kubelet, &pod, &id, &member, place);
            let outcome = tokio::select! {
                outcome = work => outcome,
                () = cancel.cancelled() => Ok(()),
            };
            Done::Start { name, outcome }
        });
    }

    /// The container whose processes an ephemeral one asked to see.
    fn target_of(&self, name: &str) -> Option<String> {
        let spec = self.pod.spec.as_ref()?;
        let added = spec.ephemeral_containers.iter().flatten().find(|added| added.name == name)?;
        let target = self.observed.newest(added.target_container_name.as_deref()?)?;
        Some(target.id.clone())
    }

    fn stop(&mut self, id: String, name: &str, grace: SignedDuration, why: Why) {
        let again = self.memory.jobs.stopping.insert(id.clone(), grace).is_some();
        if !again {
            let message = match why {
                Why::PodEnds | Why::SandboxGone => format!("Stopping container {name}"),
                Why::Liveness => {
                    format!("Container {name} failed liveness probe, will be restarted")
                }
                Why::Startup => format!("Container {name} failed startup probe, will be restarted"),
                Why::Resized => format!("Container {name} resize requires restart"),
                Why::Changed => format!("Container {name} definition changed, will be restarted"),
            };
            let field = container_field(&self.pod, name);
            self.kubelet.events.pod(&self.pod, field, Kind::Normal, "Killing", message);
        }
        let member = role::all(&self.pod).into_iter().find(|member| member.name() == name);
        let address = self.observed.current().and_then(|s| s.addresses.first().copied());
        let address = address.or(self.kubelet.config.node_ips.first().copied());
        let (kubelet, pod) = (self.kubelet.clone(), self.pod.clone());
        let grace = grace.unsigned_abs();
        let hooked = !again && why != Why::SandboxGone && !grace.is_zero();
        self.jobs.spawn(async move {
            let begin = Instant::now();
            let container = member.map(|member| member.container);
            let handler = container.as_ref().and_then(|c| c.lifecycle.as_ref()?.pre_stop.clone());
            if let (true, Some(container), Some(handler)) = (hooked, container, handler) {
                let ran = hook::run(&kubelet, &container, &id, address, &handler);
                let failed = match tokio::time::timeout(grace, ran).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error),
                    Err(_) => Some("it did not end within the pod's grace period".to_owned()),
                };
                if let Some(error) = failed {
                    tracing::warn!(container = container.name, %error, "preStop hook failed");
                    let field = container_field(&pod, &container.name);
                    kubelet.events.pod(
                        &pod,
                        field,
                        Kind::Warning,
                        "FailedPreStopHook",
                        "PreStopHook failed",
                    );
                }
            }
            let left = match grace.is_zero() {
                true => Duration::ZERO,
                false => grace.saturating_sub(begin.elapsed()).max(LEAST_GRACE),
            };
            if let Err(error) = kubelet.runtime.stop_container(&id, left).await {
                tracing::warn!(container = id, %error, "cannot stop a container");
                tokio::time::sleep(RETRY.unsigned_abs()).await;
            }
            Done::Stop { id }
        });
    }

    fn resize(&mut self, id: String, name: String, amounts: Amounts) {
        self.memory.jobs.resizing = Some(id.clone());
        let (kubelet, pod, of) = (self.kubelet.clone(), self.pod.clone(), self.id.clone());
        self.jobs.spawn(async move {
            let class = Class::of(&pod);
            let memory = kubelet.machine.memory_bytes;
            let work = async {
                let whole = Amounts::of_pod(&pod);
                // The pod's group must not be the tighter one at any time: it may grow before and
                // shrink after its container.
                let before = kubelet.cgroups.make(&of.uid, class, whole);
                let resources = amounts.to_cri_update(class, memory);
                kubelet
                    .runtime
                    .update_container_resources(&id, resources)
                    .await
                    .map_err(|e| e.message())?;
                before
                    .or_else(|_| kubelet.cgroups.make(&of.uid, class, whole))
                    .map_err(|e| e.to_string())
            };
            let outcome = work.await;
            if let Err(error) = &outcome {
                tracing::warn!(pod = %of, container = name, error, "cannot change resources");
                tokio::time::sleep(RETRY.unsigned_abs()).await;
            }
            Done::Resize { id, amounts, outcome }
        });
    }

    fn tear_down(&mut self) {
        self.memory.jobs.teardown = true;
        let (kubelet, id) = (self.kubelet.clone(), self.id.clone());
        self.jobs.spawn_blocking(move || {
            kubelet.cgroups.remove(&id.uid);
            Done::TearDown(
                setup::take_down(&kubelet.folder(&id)).map_err(|error| error.to_string()),
            )
        });
    }

    fn delete(&mut self) {
        let (kubelet, id) = (self.kubelet.clone(), self.id.clone());
        if self.memory.jobs.teardown {
            return;
        }
        self.memory.jobs.teardown = true;
        self.jobs.spawn(async move {
            let pods: Api<Pod> = Api::namespaced(kubelet.client.clone(), &id.namespace);
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions {
                    uid: Some(id.uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match pods.delete(&id.name, &params).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => tracing::warn!(pod = %id, %error, "cannot delete an ended pod"),
            }
            tokio::time::sleep(RETRY.unsigned_abs()).await;
            Done::TearDown(Ok(()))
        });
    }

    /// Removes all that is left; the worker ends after it.
    fn forget(&mut self) {
        self.forgotten = true;
        let (kubelet, id, observed) =
            (self.kubelet.clone(), self.id.clone(), std::mem::take(&mut self.observed));
        tokio::spawn(async move {
            crate::garbage::forget_pod(&kubelet, &id, &observed).await;
        });
    }

    /// Brings config maps, secrets and tokens in volumes up to date.
    pub(super) fn refresh_volumes(&mut self) {
        if self.observed.current().is_none() || self.memory.torn_down || self.memory.jobs.sandbox {
            return;
        }
        let (kubelet, pod, id) = (self.kubelet.clone(), self.pod.clone(), self.id.clone());
        self.jobs.spawn(async move {
            let refreshed =
                setup::refresh(&pod, &id, &kubelet.folder(&id), kubelet.sources()).await;
            Done::Refresh(refreshed.map_err(|error| error.to_string()))
        });
    }

    /// Notes what came of a job.
    pub(super) fn finish(&mut self, done: Done) {
        match done {
            Done::Sandbox(outcome) => {
                self.memory.jobs.sandbox = false;
                self.memory.sandbox_retry = None;
                self.memory.sandbox_failures =
                    if outcome.is_ok() { 0 } else { self.memory.sandbox_failures + 1 };
                if let Err((reason, message)) = outcome {
                    self.memory.sandbox_retry =
                        Some(Timestamp::now() + self.memory.sandbox_pause());
                    if !reason.is_empty() {
                        tracing::warn!(pod = %self.id, reason, message, "no sandbox");
                        self.kubelet.events.pod(&self.pod, None, Kind::Warning, reason, message);
                    }
                }
            }
            Done::Start { name, outcome } => {
                self.memory.jobs.starting = None;
                match outcome {
                    Ok(()) => self.memory.waiting.remove(&name),
                    Err(waiting) => {
                        let before = self.memory.waiting.get(&name);
                        let waiting = waiting.after(before, Timestamp::now());
                        self.memory.waiting.insert(name, waiting)
                    }
                };
            }
            Done::Stop { id } => {
                self.memory.jobs.stopping.remove(&id);
            }
            Done::Resize { id, amounts, outcome } => {
                self.memory.jobs.resizing = None;
                if outcome.is_ok() {
                    self.memory.resized.insert(id, amounts);
                }
            }
            Done::TearDown(outcome) => {
                self.memory.jobs.teardown = false;
                match outcome {
                    Ok(()) => self.memory.torn_down = true,
                    Err(error) => tracing::warn!(pod = %self.id, error, "cannot take volumes down"),
                }
            }
            Done::Refresh(Err(message)) => {
                tracing::warn!(pod = %self.id, message, "volumes are not up to date");
                let text = format!("MountVolume.SetUp failed: {message}");
                self.kubelet.events.pod(&self.pod, None, Kind::Warning, "FailedMount", text);
            }
            Done::Refresh(Ok(())) | Done::Other => {}
        }
    }

    /// Says that a container crashes again and again.
    pub(super) fn tell_backoff(&self, name: &str) {
        let message = format!(
            "Back-off restarting failed container {name} in pod {}_{}({})",
            self.id.name, self.id.namespace, self.id.uid
        );
        let field = container_field(&self.pod, name);
        self.kubelet.events.pod(&self.pod, field, Kind::Warning, "BackOff", message);
    }
}
