//! The pod's conditions: scheduled, sandbox ready, initialized, containers ready, ready.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::observe::Observed;
use crate::role::{self, Role};

/// The conditions that a kubelet owns; a transition time moves only with the status.
pub(super) fn conditions(
    pod: &Pod,
    observed: &Observed,
    status: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let old =
        pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ended = match status.phase.as_deref() {
        Some("Succeeded") => Some("PodCompleted"),
        Some("Failed") => Some("PodFailed"),
        _ => None,
    };
    let initialized = initialized(pod, status, ended);
    let containers_ready = containers_ready(status, ended);
    let ready = ready(pod, old, &containers_ready, ended);
    let sandbox = Finding::from(observed.current().is_some() && ended.is_none());
    let findings = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Finding::from(true)),
    ];
    findings
        .into_iter()
        .map(|(kind, finding)| finding.into_condition(kind, pod, old, now))
        .collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl From<bool> for Finding {
    fn from(holds: bool) -> Self {
        Self { holds, reason: None, message: None }
    }
}

impl Finding {
    fn not(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }

    fn into_condition(
        self,
        kind: &str,
        pod: &Pod,
        old: &[PodCondition],
        now: Timestamp,
    ) -> PodCondition {
        let status = if self.holds { "True" } else { "False" };
        let before = old.iter().find(|condition| condition.type_ == kind);
        let unchanged = before.filter(|condition| condition.status == status);
        let since = unchanged.and_then(|condition| condition.last_transition_time.clone());
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.map(str::to_owned),
            message: self.message,
            last_transition_time: since.or(Some(Time(super::whole_seconds(now)))),
            last_probe_time: None,
            observed_generation: pod.metadata.generation,
        }
    }
}

fn initialized(pod: &Pod, status: &PodStatus, ended: Option<&'static str>) -> Finding {
    let first = role::first(pod);
    let states = status.init_container_statuses.as_deref().unwrap_or_default();
    let begun = status.container_statuses.iter().flatten().any(has_begun);
    let pending: Vec<&str> = first
        .iter()
        .zip(states)
        .filter(|(member, one)| match member.role {
            Role::Sidecar => one.started != Some(true),
            _ => !one.ready,
        })
        .map(|(member, _)| member.name())
        .collect();
    if pending.is_empty() || begun {
        return Finding {
            reason: ended.filter(|reason| *reason == "PodCompleted"),
            ..Finding::from(true)
        };
    }
    if ended == Some("PodCompleted") {
        return Finding { reason: ended, ..Finding::from(true) };
    }
    let message = format!("containers with incomplete status: [{}]", pending.join(" "));
    Finding::not("ContainersNotInitialized", Some(message))
}

fn has_begun(one: &ContainerStatus) -> bool {
    one.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        || one.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn containers_ready(status: &PodStatus, ended: Option<&'static str>) -> Finding {
    if let Some(reason) = ended {
        return Finding::not(reason, None);
    }
    let main = status.container_statuses.iter().flatten();
    let sidecars = status.init_container_statuses.iter().flatten();
    // An init container that is done counts as ready; a sidecar is as ready as its probe says.
    let all = sidecars
        .filter(|one| one.state.as_ref().is_none_or(|s| s.terminated.is_none()))
        .chain(main);
    let unready: Vec<&str> = all.filter(|one| !one.ready).map(|one| one.name.as_str()).collect();
    if unready.is_empty() {
        return Finding::from(true);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Finding::not("ContainersNotReady", Some(message))
}

fn ready(
    pod: &Pod,
    old: &[PodCondition],
    containers_ready: &Finding,
    ended: Option<&'static str>,
) -> Finding {
    if !containers_ready.holds || ended.is_some() {
        return containers_ready.clone();
    }
    let gates =
        pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let open: Vec<String> = gates
        .iter()
        .filter_map(|gate| {
            let condition = old.iter().find(|condition| condition.type_ == gate.condition_type);
            match condition {
                Some(condition) if condition.status == "True" => None,
                Some(_) => Some(format!(
                    "the status of pod readiness gate {:?} is not \"True\", but False",
                    gate.condition_type
                )),
                None => Some(format!(
                    "corresponding condition of pod readiness gate {:?} does not exist.",
                    gate.condition_type
                )),
            }
        })
        .collect();
    match open.is_empty() {
        true => Finding::from(true),
        false => Finding::not("ReadinessGatesNotReady", Some(open.join(", "))),
    }
}
