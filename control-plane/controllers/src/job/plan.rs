//! What to do next for a job.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::ledger::Ledger;
use super::pod::{Outcome, ended_at, index_of, is_indexed, job_pod, outcome, replaces_only_failed};
use super::verdict::{until_deadline, verdict};
use crate::pod::{is_active, is_ready, is_terminal, is_terminating};
use crate::runtime::Event;

/// No more pods than this are made in one go.
const BURST: usize = 500;
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const LAST_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// The writes to do: the status first, then the rest.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) status: JobStatus,
    pub(super) create: Vec<Pod>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// The uids of pods that may go once the status is written.
    pub(super) free: HashSet<Option<String>>,
    pub(super) events: Vec<Event>,
    pub(super) next: Option<Duration>,
}

/// Decides for a job that is not over. `settled`: the pods are as the last decision left them.
pub(super) fn decide(job: &Job, pods: &[Arc<Pod>], settled: bool, now: Timestamp) -> Decision {
    let spec = job.spec.clone().unwrap_or_default();
    let mut status = job.status.clone().unwrap_or_default();
    let ledger = Ledger::read(&spec, &status, pods);
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
    let ending = pods.iter().filter(|pod| is_terminating(pod) && !is_terminal(pod)).count();
    let suspended = spec.suspend == Some(true);
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(Time(now));
    }
    let mut events = Vec::new();
    let mut work = Work::default();
    match verdict(&spec, &status, &ledger, active.len(), now) {
        Some(verdict) => {
            set(&mut status, verdict.condition(verdict.first(), now));
            work.delete.clone_from(&active);
            if active.is_empty() && ending == 0 && ledger.is_settled() && settled {
                set(&mut status, verdict.condition(verdict.last(), now));
                if verdict.success {
                    status.completion_time = Some(Time(now));
                    events.push(Event::normal("Completed", "Job completed"));
                } else {
                    events.push(failure_event(&verdict.reason, verdict.message));
                }
            }
        }
        None if settled && job.metadata.deletion_timestamp.is_none() => {
            events.extend(note_suspension(&mut status, suspended, now));
            work = next_work(job, &spec, &ledger, pods, &active, ending, now);
        }
        None => {}
    }
    ledger.write(&mut status);
    let ready = active.iter().filter(|pod| is_ready(pod)).count();
    status.active = Some(to_i32(active.len())).filter(|count| *count > 0);
    status.ready = Some(to_i32(ready));
    status.terminating = Some(to_i32(ending));
    let deadline =
        until_deadline(&spec, &status, now).and_then(|left| Duration::try_from(left).ok());
    let next = work.wait.into_iter().chain(deadline).min();
    let Work { create, delete, .. } = work;
    Decision { status, create, delete, free: ledger.free, events, next }
}

/// Reasons that are known by name; any other is a policy's.
fn failure_event(reason: &str, message: String) -> Event {
    let known = ["BackoffLimitExceeded", "DeadlineExceeded"];
    let reason = known.into_iter().find(|known| *known == reason).unwrap_or("PodFailurePolicy");
    Event::warning(reason, message)
}

fn note_suspension(status: &mut JobStatus, suspended: bool, now: Timestamp) -> Option<Event> {
    let known = status.conditions.iter().flatten().find(|c| c.type_ == "Suspended");
    let was = known.is_some_and(|condition| condition.status == "True");
    if was == suspended {
        return None;
    }
    let (value, reason, message, event) = if suspended {
        ("True", "JobSuspended", "Job suspended", "Suspended")
    } else {
        ("False", "JobResumed", "Job resumed", "Resumed")
    };
    set(
        status,
        JobCondition {
            type_: "Suspended".into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        },
    );
    status.start_time = (!suspended).then_some(Time(now));
    Some(Event::normal(event, message))
}

/// Sets a condition, unless it is already so.
fn set(status: &mut JobStatus, new: JobCondition) {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|known| known.type_ == new.type_) {
        Some(known) if known.status == new.status => {}
        Some(known) => *known = new,
        None => conditions.push(new),
    }
}

#[derive(Default)]
struct Work {
    create: Vec<Pod>,
    delete: Vec<Arc<Pod>>,
    wait: Option<Duration>,
}

fn next_work(
    job: &Job,
    spec: &JobSpec,
    ledger: &Ledger,
    pods: &[Arc<Pod>],
    active: &[Arc<Pod>],
    ending: usize,
    now: Timestamp,
) -> Work {
    let mut work = Work::default();
    let wanted = wanted(spec, ledger, active.len());
    let (mut keep, mut surplus) = (Vec::new(), Vec::new());
    if is_indexed(spec) {
        // One pod per index that is not done; any other is too much.
        let mut taken = HashSet::new();
        for pod in by_worth(active) {
            match index_of(&pod) {
                Some(index)
                    if !ledger.done.contains(index)
                        && in_range(spec, index)
                        && taken.insert(index) =>
                {
                    keep.push(pod);
                }
                _ => surplus.push(pod),
            }
        }
    } else {
        keep = by_worth(active);
    }
    if keep.len() > wanted {
        surplus.extend(keep.split_off(wanted));
    }
    work.delete = surplus;
    let held_back = if replaces_only_failed(spec) { ending } else { 0 };
    let lacking = wanted.saturating_sub(keep.len() + held_back).min(BURST);
    if lacking == 0 || !work.delete.is_empty() {
        return work;
    }
    if let Some(wait) = backoff(spec, pods, now) {
        work.wait = Some(wait);
        return work;
    }
    work.create = if is_indexed(spec) {
        let busy: HashSet<u32> = keep.iter().filter_map(|pod| index_of(pod)).collect();
        let all = 0..u32::try_from(spec.completions.unwrap_or_default()).unwrap_or_default();
        let open = all.filter(|index| !ledger.done.contains(*index) && !busy.contains(index));
        open.take(lacking).map(|index| job_pod(job, spec, Some(index))).collect()
    } else {
        (0..lacking).map(|_| job_pod(job, spec, None)).collect()
    };
    work
}

fn in_range(spec: &JobSpec, index: u32) -> bool {
    spec.completions.is_some_and(|end| i64::from(index) < i64::from(end))
}

/// How many pods should run now.
fn wanted(spec: &JobSpec, ledger: &Ledger, active: usize) -> usize {
    if spec.suspend == Some(true) {
        return 0;
    }
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let wanted = match spec.completions {
        // A work queue: once one pod has found it empty, no new one is started.
        None if ledger.succeeded > 0 => return active,
        None => parallelism,
        Some(completions) => (completions - ledger.succeeded).clamp(0, parallelism),
    };
    usize::try_from(wanted).unwrap_or_default()
}

/// The pods that are worth most first: ready, then older.
fn by_worth(pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    let mut pods = pods.to_vec();
    pods.sort_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!is_ready(pod), crate::pod::node_name(pod).is_empty(), created, pod.metadata.name.clone())
    });
    pods
}

/// How long to wait after failures: twice as long after each one since the last success.
fn backoff(spec: &JobSpec, pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let ended = |wanted: Outcome| {
        let pods = pods.iter().filter(move |pod| outcome(spec, pod) == Some(wanted));
        pods.filter_map(|pod| ended_at(pod))
    };
    let last_success = ended(Outcome::Succeeded).max();
    let failures: Vec<Timestamp> = ended(Outcome::Failed)
        .filter(|at| last_success.is_none_or(|success| *at > success))
        .collect();
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
    let delay = (FIRST_BACKOFF * (1 << doublings)).min(LAST_BACKOFF);
    let left = delay - now.duration_since(*last);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(spec: &Value) -> Job {
        let mut whole = json!({"template": {"spec": {"containers": []}}});
        json_patch::merge(&mut whole, spec);
        serde_json::from_value(json!({"metadata": {"name": "sum", "uid": "j"}, "spec": whole}))
            .unwrap()
    }

    fn pod(name: &str, phase: &str, index: Option<u32>, ended: Option<&str>) -> Arc<Pod> {
        let annotations = index
            .map(|index| json!({"batch.kubernetes.io/job-completion-index": index.to_string()}));
        let pod = json!({
            "metadata": {"name": name, "uid": name, "annotations": annotations,
                "finalizers": ["batch.kubernetes.io/job-tracking"]},
            "status": {"phase": phase, "containerStatuses": [{"name": "c", "image": "", "imageID": "",
                "ready": false, "restartCount": 0,
                "state": {"terminated": ended.map(|at| json!({"exitCode": 1, "finishedAt": at}))}}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".parse().unwrap()
    }

    #[test]
    fn pods_are_made_and_deleted_as_needed() {
        let run = |name: &str| pod(name, "Running", None, None);
        let two = [run("a"), run("b")];
        // (spec, pods) -> (created, deleted)
        let cases = [
            (json!({"parallelism": 3, "completions": 5}), &two[..0], (3, 0)),
            (json!({"parallelism": 3, "completions": 5}), &two, (1, 0)),
            (json!({"parallelism": 1, "completions": 5}), &two, (0, 1)),
            (json!({"parallelism": 3, "completions": 1}), &two, (0, 1)),
            (json!({"parallelism": 3}), &two, (1, 0)),
            (json!({"parallelism": 3, "suspend": true}), &two, (0, 2)),
        ];
        for (spec, pods, expected) in cases {
            let decision = decide(&job(&spec), pods, true, now());
            assert_eq!((decision.create.len(), decision.delete.len()), expected, "{spec}");
            let unsettled = decide(&job(&spec), pods, false, now());
            assert!(unsettled.create.is_empty() && unsettled.delete.is_empty(), "{spec}");
        }
    }

    #[test]
    fn open_indexes_are_filled_from_the_lowest() {
        let spec = json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"});
        let pods = [
            pod("a", "Succeeded", Some(0), None),
            pod("b", "Running", Some(2), None),
            pod("c", "Running", Some(2), None),
        ];
        let decision = decide(&job(&spec), &pods, true, now());
        assert_eq!(decision.delete.len(), 1, "two pods of one index");
        let decision = decide(&job(&spec), &pods[..2], true, now());
        let made: Vec<_> = decision.create.iter().filter_map(index_of).collect();
        assert_eq!(made, [1]);
    }

    #[test]
    fn failures_are_followed_by_a_longer_and_longer_wait() {
        let spec = json!({"parallelism": 1, "completions": 1});
        let failed = |name: &str, at: &str| pod(name, "Failed", None, Some(at));
        // failed pods -> seconds to wait
        let cases = [
            (vec![failed("a", "2026-01-01T00:00:55Z")], Some(5)),
            (vec![failed("a", "2026-01-01T00:00:50Z")], None),
            (
                vec![failed("a", "2026-01-01T00:00:40Z"), failed("b", "2026-01-01T00:00:55Z")],
                Some(15),
            ),
        ];
        for (pods, expected) in cases {
            let decision = decide(&job(&spec), &pods, true, now());
            assert_eq!(decision.next.map(|wait| wait.as_secs()), expected);
            assert_eq!(decision.create.len(), usize::from(expected.is_none()));
        }
    }

    #[test]
    fn a_job_is_over_only_when_its_pods_are_counted_and_gone() {
        let spec = json!({"parallelism": 1, "completions": 1});
        let mut job = job(&spec);
        let done = pod("a", "Succeeded", None, None);
        let kinds = |decision: &Decision| {
            let conditions = decision.status.conditions.iter().flatten();
            conditions.map(|condition| condition.type_.clone()).collect::<Vec<_>>()
        };
        let first = decide(&job, std::slice::from_ref(&done), true, now());
        assert_eq!(kinds(&first), ["SuccessCriteriaMet"]);
        assert!(first.free.contains(&Some("a".into())));
        job.status = Some(first.status);
        let mut freed = Pod::clone(&done);
        freed.metadata.finalizers = None;
        let last = decide(&job, &[Arc::new(freed)], true, now());
        assert_eq!(kinds(&last), ["SuccessCriteriaMet", "Complete"]);
        assert_eq!(last.status.succeeded, Some(1));
        assert!(last.status.completion_time.is_some());
    }
}
