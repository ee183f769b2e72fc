//! Hooks of types whose fields depend on each other.

mod core;
mod network;
mod pod;
mod rbac;
mod selector;
mod workload;

use serde_json::{Map, Value};

use super::plan::Hook;

/// The hook of one type.
pub(super) fn hook(ty: &str) -> Option<Hook> {
    Some(match ty {
        "apps.DaemonSetSpec" => workload::daemon_set_spec,
        "apps.DeploymentSpec" | "apps.ReplicaSetSpec" => workload::deployment_spec,
        "apps.StatefulSetSpec" => workload::stateful_set_spec,
        "batch.CronJobSpec" => workload::cron_job_spec,
        "batch.JobSpec" => workload::job_spec,
        "core.ConfigMap" => core::config_map,
        "core.Container" => pod::container,
        "core.PersistentVolumeClaimSpec" => core::persistent_volume_claim_spec,
        "core.PodSpec" => pod::spec,
        "core.PodTemplateSpec" => pod::template,
        "core.ResourceRequirements" => pod::resources,
        "core.Secret" => core::secret,
        "core.Toleration" => pod::toleration,
        "core.TopologySpreadConstraint" => pod::spread_constraint,
        "core.ServiceSpec" => network::service_spec,
        "meta.LabelSelector" => selector::label_selector,
        "networking.NetworkPolicyPeer" => network::policy_peer,
        "rbac.ClusterRoleBinding" => rbac::cluster_role_binding,
        "rbac.PolicyRule" => rbac::policy_rule,
        "rbac.RoleBinding" => rbac::role_binding,
        "rbac.Subject" => rbac::subject,
        _ => return None,
    })
}

/// The text in a field; empty where it is absent.
fn text<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The objects in a list.
fn items<'a>(map: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    map.get(field).and_then(Value::as_array).into_iter().flatten()
}
