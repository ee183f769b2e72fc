//! One pod's worker: looks, plans, acts, waits for something to change. All deciding is in `plan`;
//! all waiting is here. It dies with its pod and leaves running containers alone when the kubelet stops.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::identity::PodId;
use crate::kubelet::Kubelet;
use crate::memory::{Doom, Memory, Waiting};
use crate::observe::Observed;
use crate::plan::{self, Plan};
use crate::probe::{Purpose, Verdict};
use crate::resources::Amounts;

mod act;
mod probes;
mod report;
mod words;

/// How soon a look at a runtime that did not answer is repeated.
const RETRY: Duration = Duration::from_secs(2);
/// How often live volumes are brought up to date.
const REFRESH: Duration = Duration::from_secs(60);
/// Verdicts that may wait.
const VERDICTS: usize = 64;

/// What the dispatcher says about a pod.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) pod: Arc<Pod>,
    /// The API server has it no more.
    pub(crate) gone: bool,
    /// The node must end it.
    pub(crate) doom: Option<Doom>,
}

/// What came of a job.
#[derive(Debug)]
enum Done {
    Sandbox(Result<(), (&'static str, String)>),
    Start { name: String, outcome: Result<(), Waiting> },
    Stop { id: String },
    Resize { id: String, amounts: Amounts, outcome: Result<(), String> },
    TearDown(Result<(), String>),
    Refresh(Result<(), String>),
    Other,
}

/// The worker of one pod.
pub(crate) struct Worker {
    kubelet: Arc<Kubelet>,
    id: PodId,
    pod: Arc<Pod>,
    memory: Memory,
    observed: Observed,
    jobs: JoinSet<Done>,
    start: CancellationToken,
    probes: probes::Probes,
    verdicts: mpsc::Receiver<Verdict>,
    reported: Option<PodStatus>,
    /// Restarts that an event has told to wait: container and attempt.
    told_backoff: Vec<(String, u32)>,
    forgotten: bool,
}

impl Worker {
    pub(crate) fn new(kubelet: Arc<Kubelet>, id: PodId, pod: Arc<Pod>, doom: Option<Doom>) -> Self {
        let (sender, verdicts) = mpsc::channel(VERDICTS);
        Self {
            kubelet,
            id,
            pod,
            memory: Memory { doom, ..Memory::default() },
            observed: Observed::default(),
            jobs: JoinSet::new(),
            start: CancellationToken::new(),
            probes: probes::Probes::new(sender),
            verdicts,
            reported: None,
            told_backoff: Vec::new(),
            forgotten: false,
        }
    }

    /// Works until the pod is forgotten or the kubelet stops.
    pub(crate) async fn run(
        mut self,
        mut words: watch::Receiver<Word>,
        wake: Arc<Notify>,
        shutdown: CancellationToken,
    ) {
        let first = self.look().await;
        if first {
            let doom = self.memory.doom.take();
            self.memory = Memory::inherit(&self.pod, &self.observed);
            self.memory.doom = doom.or(self.memory.doom.take());
        }
        let mut refresh = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
        loop {
            let wait = self.turn().await;
            if self.forgotten {
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = words.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let word = words.borrow_and_update().clone();
                    self.hear(word);
                }
                () = wake.notified() => {}
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => match done {
                    Ok(done) => self.finish(done),
                    Err(error) => tracing::error!(pod = %self.id, %error, "a job of a pod died"),
                },
                Some(verdict) = self.verdicts.recv() => self.judge(verdict),
                _ = refresh.tick() => self.refresh_volumes(),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Looks, plans, tells, acts; how long to wait at most for the next turn.
    async fn turn(&mut self) -> Duration {
        if !self.look().await {
            return RETRY;
        }
        self.memory.forget_removed(&self.observed);
        self.hear_last_words().await;
        self.sync_probes();
        let now = Timestamp::now();
        let plan = plan::plan(&self.pod, &self.observed, &self.memory, now);
        let told = self.report(&plan).await;
        self.tell_backoffs(&plan);
        let wait = plan.wake_at.map_or(SignedDuration::from_secs(60), |at| at.duration_since(now));
        let wait = wait.unsigned_abs().clamp(Duration::from_millis(20), Duration::from_secs(60));
        self.act(plan, told);
        if told { wait } else { RETRY.min(wait) }
    }

    async fn look(&mut self) -> bool {
        let kubelet = &self.kubelet;
        match Observed::look(&kubelet.runtime, &kubelet.runtime_name, &self.id).await {
            Ok(observed) => {
                self.observed = observed;
                true
            }
            Err(error) => {
                tracing::warn!(pod = %self.id, %error, "cannot see what runs");
                false
            }
        }
    }

    /// Takes the pod as the API server has it, unless what is known is newer.
    fn hear(&mut self, word: Word) {
        self.memory.gone |= word.gone;
        if self.memory.doom.is_none() {
            self.memory.doom = word.doom;
        }
        if word.gone || version(&word.pod) < version(&self.pod) {
            return;
        }
        let (old, new) = (&self.pod.metadata, &word.pod.metadata);
        let shown = old.labels != new.labels || old.annotations != new.annotations;
        self.pod = word.pod;
        if shown {
            self.refresh_volumes();
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        let verdicts = self.memory.verdicts.entry(verdict.container).or_default();
        match verdict.purpose {
            Purpose::Startup => verdicts.startup = Some(verdict.good),
            Purpose::Readiness => verdicts.readiness = Some(verdict.good),
            Purpose::Liveness => verdicts.liveness = Some(verdict.good),
        }
    }

    /// Tells once per restart that a container has to wait.
    fn tell_backoffs(&mut self, plan: &Plan) {
        let status = &plan.status;
        let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        for one in all {
            let waiting = one.state.as_ref().and_then(|state| state.waiting.as_ref());
            let crashed = waiting.is_some_and(|w| w.reason.as_deref() == Some("CrashLoopBackOff"));
            let key = (one.name.clone(), u32::try_from(one.restart_count).unwrap_or(0));
            if crashed && !self.told_backoff.contains(&key) {
                self.told_backoff.retain(|(name, _)| *name != one.name);
                self.tell_backoff(&one.name);
                self.told_backoff.push(key);
            }
        }
    }
}

/// Resource versions of one object grow.
fn version(pod: &Pod) -> u128 {
    let version = pod.metadata.resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or(u128::MAX)
}
