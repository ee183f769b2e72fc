//! What a pod's worker knows beside what the runtime shows. All of it can be lost: a restarted
//! kubelet begins with an empty one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::backoff::Backoff;
use crate::observe::{Container, Observed, Stage};
use crate::resources::Amounts;

/// Results, delays and work under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Probe results by container id.
    pub(crate) verdicts: BTreeMap<String, Verdicts>,
    /// Restart delays by container name.
    pub(crate) backoffs: BTreeMap<String, Backoff>,
    /// Why a container's last attempt to start failed, by container name.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// The last words of containers that have ended, by container id.
    pub(crate) last_words: BTreeMap<String, String>,
    /// Resources that running containers were given after their start, by container id.
    pub(crate) resized: BTreeMap<String, Amounts>,
    /// When the next sandbox may be made, after one could not.
    pub(crate) sandbox_retry: Option<Timestamp>,
    /// How often in a row none could be made.
    pub(crate) sandbox_failures: u32,
    /// The pod must end, whatever its containers do.
    pub(crate) doom: Option<Doom>,
    /// Volumes and control group are gone.
    pub(crate) torn_down: bool,
    /// The API server has no such pod any more.
    pub(crate) gone: bool,
    /// Work under way.
    pub(crate) jobs: Jobs,
}

/// What runs in the background for this pod; the plan starts nothing twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) sandbox: bool,
    pub(crate) starting: Option<String>,
    /// Containers being stopped, with the grace that they were given.
    pub(crate) stopping: BTreeMap<String, SignedDuration>,
    pub(crate) teardown: bool,
    /// The container whose resources are being changed.
    pub(crate) resizing: Option<String>,
}

/// What the probes of a container last said; none before the first answer that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) startup: Option<bool>,
    pub(crate) readiness: Option<bool>,
    pub(crate) liveness: Option<bool>,
}

/// A container that cannot start yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) retry_at: Timestamp,
    /// How often in a row it could not for this reason.
    pub(crate) tries: u32,
}

/// Why a pod was ended by the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doom {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Doom {
    /// The reason as events write it.
    pub(crate) fn event(&self) -> &'static str {
        match self.reason.as_str() {
            "OutOfpods" => "OutOfpods",
            "OutOfcpu" => "OutOfcpu",
            "OutOfmemory" => "OutOfmemory",
            _ => "Failed",
        }
    }
}

impl Waiting {
    /// The same again waits longer each time, up to a bound.
    pub(crate) fn after(mut self, before: Option<&Self>, now: Timestamp) -> Self {
        if let Some(before) = before.filter(|before| before.reason == self.reason) {
            self.tries = before.tries + 1;
        }
        let pause = SignedDuration::from_secs(1 << self.tries.clamp(1, 4));
        self.retry_at = self.retry_at.max(now + pause);
        self
    }
}

impl Memory {
    /// What a restarted kubelet takes over from the last status: a container that was ready stays
    /// so until its probe says otherwise.
    pub(crate) fn inherit(pod: &Pod, observed: &Observed) -> Self {
        let mut memory = Self::default();
        let Some(status) = &pod.status else { return memory };
        let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        for old in all {
            let id = old.container_id.as_deref().and_then(|id| id.split("://").nth(1));
            let Some(id) = id.filter(|id| {
                observed.containers.iter().any(|c| c.id == *id && c.stage == Stage::Running)
            }) else {
                continue;
            };
            let verdicts = Verdicts {
                startup: old.started.filter(|started| *started),
                readiness: Some(old.ready),
                liveness: None,
            };
            memory.verdicts.insert(id.to_owned(), verdicts);
        }
        if matches!(status.phase.as_deref(), Some("Failed"))
            && let Some(reason) = &status.reason
        {
            let message = status.message.clone().unwrap_or_default();
            memory.doom = Some(Doom { reason: reason.clone(), message });
        }
        memory
    }

    /// How long to wait after the sandbox failed again.
    pub(crate) fn sandbox_pause(&self) -> SignedDuration {
        SignedDuration::from_secs(1 << self.sandbox_failures.clamp(1, 4))
    }

    /// Forgets what belongs to containers that are no longer there.
    pub(crate) fn forget_removed(&mut self, observed: &Observed) {
        let known = |id: &String| observed.containers.iter().any(|container| container.id == *id);
        self.verdicts.retain(|id, _| known(id));
        self.last_words.retain(|id, _| known(id));
        self.resized.retain(|id, _| known(id));
    }

    /// The resources that a container has now; none if nobody knows.
    pub(crate) fn amounts_of(&self, container: &Container) -> Option<Amounts> {
        self.resized.get(&container.id).copied().or(container.amounts)
    }
}
