//! The pods of a job: how they are made, and what became of them.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt;

use crate::pod::{is_terminating, phase};
use crate::pod_writer::from_template;

const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The annotation, label and field that carry a pod's index.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
}

/// The pod has not been counted for good.
pub(super) fn has_finalizer(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// The pod's other finalizers.
pub(super) fn without_finalizer(pod: &Pod) -> Vec<&String> {
    pod.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect()
}

/// Pods have indexes, and each index is done once.
pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// A pod is only replaced when it has ended, not already when it begins to.
pub(super) fn replaces_only_failed(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed")
}

/// How the pod ended, if it has. One that is being deleted counts as failed at once, unless the job
/// waits for the end.
pub(super) fn outcome(spec: &JobSpec, pod: &Pod) -> Option<Outcome> {
    match phase(pod) {
        "Succeeded" => Some(Outcome::Succeeded),
        "Failed" => Some(Outcome::Failed),
        _ if is_terminating(pod) && !replaces_only_failed(spec) => Some(Outcome::Failed),
        _ => None,
    }
}

/// The pod's index.
pub(super) fn index_of(pod: &Pod) -> Option<u32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// When the last of its containers ended; failing that, when it began to be deleted.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let ends = status.container_statuses.iter().flatten().filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        ended.finished_at.as_ref().map(|time| time.0)
    });
    ends.max().or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
}

/// A new pod for the job, for an index where it has them.
pub(super) fn job_pod(job: &Job, spec: &JobSpec, index: Option<u32>) -> Pod {
    let mut pod = from_template(job, &spec.template);
    pod.finalizers_mut().push(FINALIZER.into());
    let Some(index) = index else { return pod };
    let name = job.name_any();
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    pod.annotations_mut().insert(INDEX.into(), index.to_string());
    pod.labels_mut().insert(INDEX.into(), index.to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{name}-{index}"));
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    containers.for_each(tell_index);
    pod
}

fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector {
        field_path: format!("metadata.labels['{INDEX}']"),
        ..ObjectFieldSelector::default()
    };
    env.push(EnvVar {
        name: INDEX_VARIABLE.into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_indexed_pod_knows_its_index() {
        let job: Job = serde_json::from_value(json!({
            "metadata": {"name": "sum", "namespace": "shop", "uid": "j"},
            "spec": {"completionMode": "Indexed", "template": {"spec": {"containers": [{"name": "c"}]}}},
        }))
        .unwrap();
        let pod = job_pod(&job, job.spec.as_ref().unwrap(), Some(7));
        assert_eq!(index_of(&pod), Some(7));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("sum-7-"));
        assert!(has_finalizer(&pod));
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("sum-7"));
        assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, INDEX_VARIABLE);
    }

    #[test]
    fn outcomes() {
        // (phase, going, replacement policy) -> outcome
        let cases = [
            ("Running", false, "TerminatingOrFailed", None),
            ("Running", true, "TerminatingOrFailed", Some(Outcome::Failed)),
            ("Running", true, "Failed", None),
            ("Succeeded", true, "TerminatingOrFailed", Some(Outcome::Succeeded)),
            ("Failed", false, "Failed", Some(Outcome::Failed)),
        ];
        for (phase, going, policy, expected) in cases {
            let spec =
                serde_json::from_value(json!({"template": {}, "podReplacementPolicy": policy}))
                    .unwrap();
            let pod = serde_json::from_value(json!({
                "metadata": {"deletionTimestamp": going.then_some("2026-01-01T00:00:00Z")},
                "status": {"phase": phase},
            }))
            .unwrap();
            assert_eq!(outcome(&spec, &pod), expected, "{phase} {going} {policy}");
        }
    }
}
