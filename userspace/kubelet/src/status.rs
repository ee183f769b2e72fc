//! What the API server is told about a pod: a pure function of the same values as the plan.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::memory::{Doom, Memory};
use crate::observe::Observed;
use crate::qos;

mod conditions;
mod containers;
mod phase;

/// The pod's status. What others write into it (host addresses, conditions of their own) is kept.
pub(crate) fn status(
    pod: &Pod,
    observed: &Observed,
    memory: &Memory,
    overdue: bool,
    now: Timestamp,
) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let ending = overdue || memory.doom.is_some() || pod.metadata.deletion_timestamp.is_some();
    let view = containers::View { pod, observed, memory, now, ending };
    let mut status = PodStatus {
        init_container_statuses: view.init(),
        container_statuses: Some(view.main()),
        ephemeral_container_statuses: view.ephemeral(),
        start_time: old.start_time.clone().or(Some(Time(whole_seconds(now)))),
        qos_class: Some(qos::Class::of(pod).name().to_owned()),
        observed_generation: pod.metadata.generation,
        host_ip: old.host_ip.clone(),
        host_ips: old.host_ips.clone(),
        ..PodStatus::default()
    };
    let doom = memory.doom.clone().or_else(|| overdue.then(deadline_exceeded));
    let terminal = matches!(old.phase.as_deref(), Some("Failed" | "Succeeded"));
    status.phase = Some(match &doom {
        Some(_) => "Failed".to_owned(),
        // An end is final, whatever is seen later.
        None if terminal => old.phase.clone().unwrap_or_default(),
        None => {
            phase::phase(pod, &status, ending && observed.running().next().is_none()).to_owned()
        }
    });
    // A pod that was turned away has no containers to speak of.
    if doom.is_some() && observed.containers.is_empty() && old.container_statuses.is_none() {
        status.container_statuses = None;
        status.init_container_statuses = None;
    }
    status.reason = doom.as_ref().map(|doom| doom.reason.clone());
    status.message = doom.map(|doom| doom.message);
    set_addresses(&mut status, pod, observed);
    status.conditions = Some(conditions::conditions(pod, observed, &status, now));
    status
}

fn set_addresses(status: &mut PodStatus, pod: &Pod, observed: &Observed) {
    let old = pod.status.as_ref();
    let addresses: Vec<PodIP> = if crate::identity::is_host_network(pod) {
        let ips = status.host_ips.iter().flatten();
        ips.map(|ip| PodIP { ip: ip.ip.clone() }).collect()
    } else {
        let seen =
            observed.current().map(|sandbox| sandbox.addresses.as_slice()).unwrap_or_default();
        seen.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()
    };
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    status.pod_ips = match addresses.is_empty() {
        false => Some(addresses),
        // The last address stays readable while a pod ends and after.
        true if ended || pod.metadata.deletion_timestamp.is_some() => {
            old.and_then(|old| old.pod_ips.clone())
        }
        true => None,
    };
    status.pod_ip = status.pod_ips.as_ref().and_then(|ips| ips.first()).map(|ip| ip.ip.clone());
}

fn deadline_exceeded() -> Doom {
    Doom {
        reason: "DeadlineExceeded".into(),
        message: "Pod was active on the node longer than the specified deadline".into(),
    }
}

/// The API keeps whole seconds.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A duration as Go prints it: 350ms, 10s, 1m20s, 5m0s.
pub(crate) fn go_duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds) {
        (0, 0) => format!("{}ms", duration.as_millis()),
        (0, _) if duration.subsec_millis() > 0 => {
            format!("{seconds}.{:03}s", duration.subsec_millis())
        }
        (0, _) => format!("{seconds}s"),
        (minutes, _) => format!("{minutes}m{}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests;
