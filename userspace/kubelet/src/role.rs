//! The four kinds of containers in a pod, and who starts again after an end.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

use crate::resources::is_sidecar;

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// Started in the order of the init containers, runs beside the others, ends after them.
    Sidecar,
    /// The pod's work.
    Main,
    /// Added to a running pod by a person.
    Ephemeral,
}

/// A container of a pod with its role.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) container: Container,
}

/// Init containers and sidecars in their order.
pub(crate) fn first(pod: &Pod) -> Vec<Member> {
    spec(pod)
        .init_containers
        .iter()
        .flatten()
        .map(|container| {
            let role = if is_sidecar(container) { Role::Sidecar } else { Role::Init };
            Member { role, container: container.clone() }
        })
        .collect()
}

/// The pod's own containers.
pub(crate) fn main(pod: &Pod) -> Vec<Member> {
    let members = spec(pod).containers.iter();
    members.map(|container| Member { role: Role::Main, container: container.clone() }).collect()
}

/// Containers added later.
pub(crate) fn ephemeral(pod: &Pod) -> Vec<Member> {
    let members = spec(pod).ephemeral_containers.iter().flatten();
    members.map(|added| Member { role: Role::Ephemeral, container: plain(added) }).collect()
}

/// Every container of the pod.
pub(crate) fn all(pod: &Pod) -> Vec<Member> {
    [first(pod), main(pod), ephemeral(pod)].concat()
}

fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

impl Member {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.container.name
    }

    /// Does it start again after it ended with this code?
    pub(crate) fn restarts(&self, pod: &Pod, exit_code: i32) -> bool {
        match self.role {
            Role::Sidecar => return true,
            Role::Ephemeral => return false,
            Role::Init | Role::Main => {}
        }
        for rule in self.container.restart_policy_rules.iter().flatten() {
            let Some(codes) = &rule.exit_codes else { continue };
            let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            if listed == (codes.operator == "In") && rule.action == "Restart" {
                return true;
            }
        }
        let of_pod = spec(pod).restart_policy.as_deref();
        match self.container.restart_policy.as_deref().or(of_pod).unwrap_or("Always") {
            "Never" => false,
            "OnFailure" => exit_code != 0,
            _ => self.role != Role::Init || exit_code != 0,
        }
    }
}

fn plain(added: &EphemeralContainer) -> Container {
    let added = added.clone();
    Container {
        args: added.args,
        command: added.command,
        env: added.env,
        env_from: added.env_from,
        image: added.image,
        image_pull_policy: added.image_pull_policy,
        name: added.name,
        security_context: added.security_context,
        stdin: added.stdin,
        stdin_once: added.stdin_once,
        termination_message_path: added.termination_message_path,
        termination_message_policy: added.termination_message_policy,
        tty: added.tty,
        volume_devices: added.volume_devices,
        volume_mounts: added.volume_mounts,
        working_dir: added.working_dir,
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn restart_rules() {
        let rule = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
        for (case, policy, container, code, expected) in [
            ("always after success", "Always", json!({"name": "a"}), 0, true),
            ("on failure after success", "OnFailure", json!({"name": "a"}), 0, false),
            ("on failure after failure", "OnFailure", json!({"name": "a"}), 1, true),
            ("never", "Never", json!({"name": "a"}), 1, false),
            (
                "its own policy wins",
                "Never",
                json!({"name": "a", "restartPolicy": "Always"}),
                0,
                true,
            ),
            (
                "a rule restarts",
                "Never",
                json!({"name": "a", "restartPolicy": "Never", "restartPolicyRules": rule}),
                42,
                true,
            ),
            (
                "a rule does not apply",
                "Never",
                json!({"name": "a", "restartPolicy": "Never", "restartPolicyRules": rule}),
                1,
                false,
            ),
        ] {
            let pod: Pod = serde_json::from_value(
                json!({"spec": {"restartPolicy": policy, "containers": [container]}}),
            )
            .unwrap();
            assert_eq!(main(&pod)[0].restarts(&pod, code), expected, "{case}");
        }
    }
}
