//! The conditions of a deployment: Available, Progressing, ReplicaFailure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

pub(super) const COMPLETE: &str = "NewReplicaSetAvailable";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const PAUSED: &str = "DeploymentPaused";

/// A condition that begins now.
pub(super) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.into()),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The condition of this type.
pub(super) fn find<'a>(
    status: &'a DeploymentStatus,
    kind: &str,
) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|known| known.type_.as_deref() == Some(kind))
}

/// The reason of the Progressing condition.
pub(super) fn progress_reason(status: &DeploymentStatus) -> Option<&str> {
    find(status, PROGRESSING)?.reason.as_deref()
}

/// Sets a condition, unless one with the same status and reason is there. When only the reason
/// changes, the time of the last transition stays.
pub(super) fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    let kind = new.type_.clone().unwrap_or_default();
    if let Some(known) = find(status, &kind)
        && known.status == new.status
    {
        if known.reason == new.reason {
            return;
        }
        new.last_transition_time.clone_from(&known.last_transition_time);
    }
    remove(status, &kind);
    status.conditions.get_or_insert_default().push(new);
}

/// Takes a condition away.
pub(super) fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|known| known.type_.as_deref() != Some(kind));
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

/// How long a roll-out may stand still; the greatest number means for ever.
pub(super) fn progress_deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds =
        deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

/// Time spent paused does not count as time without progress: both ends are marked.
pub(super) fn mark_pause(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    if progress_deadline(deployment).is_none() || progress_reason(status) == Some(TIMED_OUT) {
        return;
    }
    let marked = progress_reason(status) == Some(PAUSED);
    let paused = deployment.spec.paused == Some(true);
    let (reason, message) = match (paused, marked) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return,
    };
    set(status, condition(PROGRESSING, "Unknown", reason, message.into(), now));
}

/// The new replica set could not be created.
pub(super) fn creation_failed(
    deployment: &Deployment,
    mut status: DeploymentStatus,
    message: &str,
    now: Timestamp,
) -> DeploymentStatus {
    if progress_deadline(deployment).is_some() {
        let failed = condition(PROGRESSING, "False", "ReplicaSetCreateError", message.into(), now);
        set(&mut status, failed);
    }
    status
}

/// Shows a failure of a replica set as the deployment's own; the new set's goes first.
pub(super) fn show_replica_failure<'a>(
    status: &mut DeploymentStatus,
    sets: impl Iterator<Item = &'a ReplicaSet>,
) {
    let failures = sets.flat_map(|set| set.status.iter());
    let failures = failures.flat_map(|status| status.conditions.iter().flatten());
    match { failures }.find(|condition| condition.type_.as_deref() == Some(REPLICA_FAILURE)) {
        Some(failure) => set(status, from_replica_set(failure)),
        None => remove(status, REPLICA_FAILURE),
    }
}

fn from_replica_set(failure: &ReplicaSetCondition) -> DeploymentCondition {
    DeploymentCondition {
        type_: failure.type_.clone(),
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        last_transition_time: failure.last_transition_time.clone(),
        last_update_time: failure.last_transition_time.clone(),
    }
}

/// The roll-out has stood still for longer than the deadline.
pub(super) fn is_timed_out(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> bool {
    let Some(deadline) = progress_deadline(deployment) else { return false };
    match find(status, PROGRESSING) {
        None => false,
        Some(progressing) => match progressing.reason.as_deref() {
            Some(COMPLETE) => false,
            Some(TIMED_OUT) => true,
            _ => progressing.last_update_time.as_ref().is_some_and(|at| at.0 + deadline < now),
        },
    }
}

/// When to look whether the deadline has passed.
pub(super) fn until_deadline(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = progress_deadline(deployment)?;
    let progressing = find(status, PROGRESSING)?;
    if matches!(progressing.reason.as_deref(), Some(COMPLETE | TIMED_OUT)) {
        return None;
    }
    let at = progressing.last_update_time.as_ref()?.0 + deadline;
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    Some(left + Duration::from_secs(1))
}
