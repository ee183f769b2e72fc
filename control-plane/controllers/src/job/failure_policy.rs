//! What a failed pod means for its job, where the job says so.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

/// What to do about a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It counts towards the backoff limit.
    Count,
    /// It does not.
    Ignore,
    /// The job has failed, for this reason.
    FailJob(String),
}

/// The first rule that matches decides; without one the failure counts.
pub(super) fn action(spec: &JobSpec, pod: &Pod) -> Action {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    for (index, rule) in rules.enumerate() {
        let Some(what) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Action::Ignore,
            "FailJob" => {
                let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
                Action::FailJob(what.message(&name, index))
            }
            _ => Action::Count,
        };
    }
    Action::Count
}

enum Match<'a> {
    ExitCode(&'a ContainerStatus, i32),
    Condition(&'a str),
}

impl Match<'_> {
    fn message(&self, pod: &str, rule: usize) -> String {
        match self {
            Self::ExitCode(container, code) => format!(
                "Container {} for pod {pod} failed with exit code {code} matching FailJob rule at index {rule}",
                container.name
            ),
            Self::Condition(kind) => {
                format!("Pod {pod} has condition {kind} matching FailJob rule at index {rule}")
            }
        }
    }
}

fn matched<'a>(rule: &PodFailurePolicyRule, pod: &'a Pod) -> Option<Match<'a>> {
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let containers = status.container_statuses.iter().flatten();
        let containers = containers.chain(status.init_container_statuses.iter().flatten());
        return { containers }.find_map(|container| {
            let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
            fits(codes, container, code).then_some(Match::ExitCode(container, code))
        });
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    { patterns }.find_map(|pattern| {
        let conditions = status.conditions.iter().flatten();
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let found = { conditions }
            .find(|condition| condition.type_ == pattern.type_ && condition.status == wanted)?;
        Some(Match::Condition(&found.type_))
    })
}

fn fits(
    codes: &PodFailurePolicyOnExitCodesRequirement,
    container: &ContainerStatus,
    code: i32,
) -> bool {
    let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
    named
        && code != 0
        && match codes.operator.as_str() {
            "In" => codes.values.contains(&code),
            "NotIn" => !codes.values.contains(&code),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let spec: JobSpec = serde_json::from_value(json!({"template": {}, "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1]}},
        ]}}))
        .unwrap();
        let failed =
            "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 1";
        // (container, exit code, disrupted) -> action
        let cases = [
            ("main", 1, false, Action::Count),
            ("main", 42, true, Action::Ignore),
            ("main", 42, false, Action::FailJob(failed.into())),
            ("side", 42, false, Action::Count),
        ];
        for (container, code, disrupted, expected) in cases {
            let status = if disrupted { "True" } else { "False" };
            let pod = serde_json::from_value(json!({
                "metadata": {"name": "p", "namespace": "ns"},
                "status": {
                    "conditions": [{"type": "DisruptionTarget", "status": status}],
                    "containerStatuses": [{"name": container, "ready": false, "restartCount": 0,
                        "image": "", "imageID": "", "state": {"terminated": {"exitCode": code}}}],
                },
            }))
            .unwrap();
            assert_eq!(action(&spec, &pod), expected, "{container} {code} {disrupted}");
        }
    }
}
