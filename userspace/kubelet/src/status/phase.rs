//! The pod's phase, from the states of its containers.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use crate::role::{self, Member, Role};

/// `ended`: the pod is ending and nothing of it runs any more.
pub(super) fn phase(pod: &Pod, status: &PodStatus, ended: bool) -> &'static str {
    let first = role::first(pod);
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let main = status.container_statuses.as_deref().unwrap_or_default();
    let begun = main.iter().any(|one| is_running(one) || exit_code(one).is_some());
    if !begun {
        let failed = |(member, one): (&Member, &ContainerStatus)| {
            member.role == Role::Init
                && terminated(one).is_some_and(|code| code != 0 && !member.restarts(pod, code))
        };
        if first.iter().zip(init).any(failed) {
            return "Failed";
        }
        if first.iter().zip(init).any(|(member, one)| !is_past(member, one)) && !ended {
            return "Pending";
        }
    }
    let members = role::main(pod);
    let running = main.iter().filter(|one| is_running(one)).count();
    let codes: Vec<i32> = main.iter().filter_map(exit_code).collect();
    let all_succeeded = codes.iter().all(|code| *code == 0);
    if running == 0 && codes.len() == main.len() && !main.is_empty() {
        let again = members
            .iter()
            .zip(main)
            .any(|(member, one)| exit_code(one).is_some_and(|code| member.restarts(pod, code)));
        return match (ended || !again, all_succeeded) {
            (true, true) => "Succeeded",
            (true, false) => "Failed",
            (false, _) => "Running",
        };
    }
    if running + codes.len() < main.len() {
        return "Pending";
    }
    "Running"
}

/// Has this init container or sidecar let the next one start?
fn is_past(member: &Member, one: &ContainerStatus) -> bool {
    match member.role {
        Role::Sidecar => one.started == Some(true),
        _ => terminated(one) == Some(0),
    }
}

fn is_running(one: &ContainerStatus) -> bool {
    one.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn terminated(one: &ContainerStatus) -> Option<i32> {
    Some(one.state.as_ref()?.terminated.as_ref()?.exit_code)
}

/// The code of a container that has ended, also while it waits to start again.
fn exit_code(one: &ContainerStatus) -> Option<i32> {
    let waits = one.state.as_ref().is_none_or(|state| state.waiting.is_some());
    let last = || one.last_state.as_ref()?.terminated.as_ref().map(|end| end.exit_code);
    terminated(one).or_else(|| if waits { last() } else { None })
}
