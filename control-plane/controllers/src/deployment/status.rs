//! What a deployment reports about its replica sets, and whether its roll-out gets on.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};

use super::conditions::{
    AVAILABLE, COMPLETE, PROGRESSING, TIMED_OUT, condition, find, is_timed_out, progress_deadline,
    progress_reason, remove, set, show_replica_failure,
};
use super::scale::{actual, available, max_unavailable, replicas, wanted};

/// The status the sets add up to; `base` holds the conditions so far.
pub(super) fn counted(
    deployment: &Deployment,
    base: &DeploymentStatus,
    new: Option<&ReplicaSet>,
    old: &[ReplicaSet],
    now: Timestamp,
) -> DeploymentStatus {
    let all = || old.iter().chain(new);
    let sum = |count: fn(&ReplicaSet) -> i32| all().map(count).sum::<i32>();
    let available_count = sum(available);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sum(actual)),
        updated_replicas: nonzero(new.map_or(0, actual)),
        ready_replicas: nonzero(sum(ready)),
        available_replicas: nonzero(available_count),
        unavailable_replicas: nonzero((sum(replicas) - available_count).max(0)),
        terminating_replicas: terminating(all()),
        collision_count: base.collision_count,
        conditions: base.conditions.clone(),
    };
    let enough = available_count >= wanted(deployment) - max_unavailable(deployment);
    let (value, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, condition(AVAILABLE, value, reason, message.into(), now));
    status
}

/// The same, with an estimate of the progress of the roll-out under way.
pub(super) fn rolling(
    deployment: &Deployment,
    base: &DeploymentStatus,
    new: Option<&ReplicaSet>,
    old: &[ReplicaSet],
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = counted(deployment, base, new, old, now);
    let deadline = progress_deadline(deployment).is_some();
    if !deadline {
        remove(&mut status, PROGRESSING);
    }
    let over =
        status.replicas == status.updated_replicas && progress_reason(base) == Some(COMPLETE);
    if deadline && !over {
        note_progress(deployment, base, &mut status, new, now);
    }
    show_replica_failure(&mut status, new.into_iter().chain(old));
    status
}

fn note_progress(
    deployment: &Deployment,
    base: &DeploymentStatus,
    status: &mut DeploymentStatus,
    new: Option<&ReplicaSet>,
    now: Timestamp,
) {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let subject = match new {
        Some(new) => format!("ReplicaSet {:?}", name(&new.metadata.name)),
        None => format!("Deployment {:?}", name(&deployment.metadata.name)),
    };
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set(status, condition(PROGRESSING, "True", COMPLETE, message, now));
    } else if is_progressing(base, status) {
        let message = format!("{subject} is progressing.");
        let mut progressing = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
        if let Some(known) = find(base, PROGRESSING).filter(|c| c.status.as_deref() == Some("True"))
        {
            progressing.last_transition_time.clone_from(&known.last_transition_time);
        }
        // With the same reason again, the time of the last update still moves: that is the progress.
        remove(status, PROGRESSING);
        set(status, progressing);
    } else if is_timed_out(deployment, status, now) {
        let message = format!("{subject} has timed out progressing.");
        set(status, condition(PROGRESSING, "False", TIMED_OUT, message, now));
    }
}

/// Every replica is of the new template and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = nonzero(wanted(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let of = |count: Option<i32>| count.unwrap_or_default();
    let outdated = |status: &DeploymentStatus| of(status.replicas) - of(status.updated_replicas);
    of(after.updated_replicas) > of(before.updated_replicas)
        || outdated(after) < outdated(before)
        || of(after.ready_replicas) > of(before.ready_replicas)
        || of(after.available_replicas) > of(before.available_replicas)
}

fn ready(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default()
}

/// The pods on their way out; unknown while one set has not said.
fn terminating<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> Option<i32> {
    let mut sum = 0;
    for set in sets {
        let status = set.status.as_ref();
        let seen = status.and_then(|status| status.observed_generation).unwrap_or_default() > 0;
        match status.and_then(|status| status.terminating_replicas) {
            Some(count) => sum += count,
            None if seen => return None,
            None => {}
        }
    }
    Some(sum)
}

fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
