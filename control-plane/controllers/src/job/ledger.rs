//! Counts ended pods, each exactly once, across restarts and stale caches.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::failure_policy::{Action, action};
use super::indexes::Indexes;
use super::pod::{Outcome, has_finalizer, index_of, is_indexed, outcome};

/// No more uids than this are written down at once.
const MOST_UNCOUNTED: usize = 500;

/// What the pods come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    /// Pods, or indexes, that have succeeded.
    pub(super) succeeded: i32,
    /// Pods that have failed.
    pub(super) failed: i32,
    /// Indexes that are done.
    pub(super) done: Indexes,
    /// The pods that may go once `status` is written.
    pub(super) free: HashSet<Option<String>>,
    /// Why the job has failed, if a pod's end says so.
    pub(super) fatal: Option<String>,
    /// The uids that are written down but not counted for good.
    uncounted: UncountedTerminatedPods,
    /// What is counted for good.
    counted: (i32, i32),
    indexed: bool,
}

impl Ledger {
    /// Reads the books: the status as it was, and the pods as they are.
    pub(super) fn read(spec: &JobSpec, status: &JobStatus, pods: &[Arc<Pod>]) -> Self {
        let indexed = is_indexed(spec);
        let end = u32::try_from(spec.completions.unwrap_or_default()).unwrap_or_default();
        let mut ledger = Self {
            done: Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), end),
            counted: (status.succeeded.unwrap_or_default(), status.failed.unwrap_or_default()),
            indexed,
            ..Self::default()
        };
        ledger.settle(status, pods);
        ledger.take_in(spec, end, pods);
        let of = |uids: &Option<Vec<String>>| {
            i32::try_from(uids.as_ref().map_or(0, Vec::len)).unwrap_or(i32::MAX)
        };
        ledger.failed = ledger.counted.1 + of(&ledger.uncounted.failed);
        ledger.succeeded = if indexed {
            i32::try_from(ledger.done.len()).unwrap_or(i32::MAX)
        } else {
            ledger.counted.0 + of(&ledger.uncounted.succeeded)
        };
        ledger
    }

    /// What stood in the status and has lost its finalizer is counted for good.
    fn settle(&mut self, status: &JobStatus, pods: &[Arc<Pod>]) {
        let held: HashSet<&str> = pods
            .iter()
            .filter(|pod| has_finalizer(pod))
            .filter_map(|pod| pod.metadata.uid.as_deref())
            .collect();
        let old = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let mut split = |uids: Option<Vec<String>>| {
            let (kept, settled): (Vec<_>, Vec<_>) =
                uids.unwrap_or_default().into_iter().partition(|uid| held.contains(uid.as_str()));
            self.free.extend(kept.iter().cloned().map(Some));
            (kept, i32::try_from(settled.len()).unwrap_or(i32::MAX))
        };
        let (succeeded, settled) = split(old.succeeded);
        self.counted.0 += settled;
        let (failed, settled) = split(old.failed);
        self.counted.1 += settled;
        self.uncounted =
            UncountedTerminatedPods { failed: Some(failed), succeeded: Some(succeeded) };
    }

    /// Writes down what has ended since.
    fn take_in(&mut self, spec: &JobSpec, end: u32, pods: &[Arc<Pod>]) {
        for pod in pods.iter().filter(|pod| has_finalizer(pod)) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let Some(outcome) = outcome(spec, pod) else { continue };
            if self.free.contains(&Some(uid.clone())) || self.free.len() >= MOST_UNCOUNTED {
                continue;
            }
            self.free.insert(Some(uid.clone()));
            match outcome {
                Outcome::Succeeded if self.indexed => {
                    if let Some(index) = index_of(pod).filter(|index| *index < end) {
                        self.done.insert(index);
                    }
                }
                Outcome::Succeeded => self.uncounted.succeeded.get_or_insert_default().push(uid),
                Outcome::Failed => match action(spec, pod) {
                    Action::Ignore => {}
                    Action::Count => self.uncounted.failed.get_or_insert_default().push(uid),
                    Action::FailJob(why) => {
                        self.fatal.get_or_insert(why);
                        self.uncounted.failed.get_or_insert_default().push(uid);
                    }
                },
            }
        }
    }

    /// Nothing is left that is written down but not counted for good.
    pub(super) fn is_settled(&self) -> bool {
        self.free.is_empty()
    }

    /// Writes the books into a status.
    pub(super) fn write(&self, status: &mut JobStatus) {
        let nonzero = |count: i32| (count != 0).then_some(count);
        status.failed = nonzero(self.counted.1);
        if self.indexed {
            status.succeeded = nonzero(self.succeeded);
            status.completed_indexes = Some(self.done.to_string()).filter(|text| !text.is_empty());
        } else {
            status.succeeded = nonzero(self.counted.0);
        }
        let listed = |uids: &Option<Vec<String>>| uids.clone().filter(|uids| !uids.is_empty());
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
            failed: listed(&self.uncounted.failed),
            succeeded: listed(&self.uncounted.succeeded),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, phase: &str, held: bool, index: Option<u32>) -> Arc<Pod> {
        let finalizers = if held { vec!["batch.kubernetes.io/job-tracking"] } else { vec![] };
        let annotations = index
            .map(|index| json!({"batch.kubernetes.io/job-completion-index": index.to_string()}));
        let pod = json!({
            "metadata": {"uid": uid, "finalizers": finalizers, "annotations": annotations},
            "status": {"phase": phase},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_counted_once_however_often_it_is_seen() {
        let spec: JobSpec = serde_json::from_value(json!({"template": {}})).unwrap();
        let mut status = JobStatus::default();
        // The finalizer goes between the second and the third look, the pod after that.
        let looks = [
            vec![pod("a", "Succeeded", true, None), pod("b", "Failed", true, None)],
            vec![pod("a", "Succeeded", true, None), pod("b", "Failed", true, None)],
            vec![pod("a", "Succeeded", false, None), pod("b", "Failed", true, None)],
            vec![],
            vec![],
        ];
        for (look, pods) in looks.iter().enumerate() {
            let ledger = Ledger::read(&spec, &status, pods);
            assert_eq!((ledger.succeeded, ledger.failed), (1, 1), "look {look}");
            ledger.write(&mut status);
        }
        assert_eq!((status.succeeded, status.failed), (Some(1), Some(1)));
        assert!(Ledger::read(&spec, &status, &[]).is_settled());
    }

    #[test]
    fn an_index_is_done_once() {
        let spec: JobSpec = serde_json::from_value(
            json!({"template": {}, "completionMode": "Indexed", "completions": 4}),
        )
        .unwrap();
        let mut status = JobStatus { completed_indexes: Some("0".into()), ..JobStatus::default() };
        let pods = [
            pod("a", "Succeeded", true, Some(0)),
            pod("b", "Succeeded", true, Some(1)),
            pod("c", "Succeeded", true, Some(9)),
        ];
        let ledger = Ledger::read(&spec, &status, &pods);
        ledger.write(&mut status);
        assert_eq!(status.completed_indexes.as_deref(), Some("0,1"));
        assert_eq!(status.succeeded, Some(2));
    }
}
