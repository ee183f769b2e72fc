//! Defaults that are one value for one field, and that the API description does not tell.

use serde_json::Value;

use crate::schema::Type;

use super::short_name;

/// Type (with its version where versions differ), field, value as JSON.
const TABLE: &[(&str, &str, &str)] = &[
    ("admissionregistration.MatchResources", "matchPolicy", r#""Equivalent""#),
    ("admissionregistration.MatchResources", "namespaceSelector", "{}"),
    ("admissionregistration.MatchResources", "objectSelector", "{}"),
    ("admissionregistration.MutatingAdmissionPolicySpec", "failurePolicy", r#""Fail""#),
    ("admissionregistration.MutatingWebhook", "failurePolicy", r#""Fail""#),
    ("admissionregistration.MutatingWebhook", "matchPolicy", r#""Equivalent""#),
    ("admissionregistration.MutatingWebhook", "namespaceSelector", "{}"),
    ("admissionregistration.MutatingWebhook", "objectSelector", "{}"),
    ("admissionregistration.MutatingWebhook", "reinvocationPolicy", r#""Never""#),
    ("admissionregistration.MutatingWebhook", "timeoutSeconds", "10"),
    ("admissionregistration.NamedRuleWithOperations", "scope", r#""*""#),
    ("admissionregistration.RuleWithOperations", "scope", r#""*""#),
    ("admissionregistration.ServiceReference", "port", "443"),
    ("admissionregistration.ValidatingAdmissionPolicySpec", "failurePolicy", r#""Fail""#),
    ("admissionregistration.ValidatingWebhook", "failurePolicy", r#""Fail""#),
    ("admissionregistration.ValidatingWebhook", "matchPolicy", r#""Equivalent""#),
    ("admissionregistration.ValidatingWebhook", "namespaceSelector", "{}"),
    ("admissionregistration.ValidatingWebhook", "objectSelector", "{}"),
    ("admissionregistration.ValidatingWebhook", "timeoutSeconds", "10"),
    ("apiextensions.ServiceReference", "port", "443"),
    ("apiregistration.ServiceReference", "port", "443"),
    ("apps.DeploymentSpec", "progressDeadlineSeconds", "600"),
    ("apps.DeploymentSpec", "replicas", "1"),
    ("apps.DeploymentSpec", "revisionHistoryLimit", "10"),
    ("apps.DaemonSetSpec", "revisionHistoryLimit", "10"),
    ("apps.ReplicaSetSpec", "replicas", "1"),
    ("apps.StatefulSetPersistentVolumeClaimRetentionPolicy", "whenDeleted", r#""Retain""#),
    ("apps.StatefulSetPersistentVolumeClaimRetentionPolicy", "whenScaled", r#""Retain""#),
    ("apps.StatefulSetSpec", "persistentVolumeClaimRetentionPolicy", "{}"),
    ("apps.StatefulSetSpec", "podManagementPolicy", r#""OrderedReady""#),
    ("apps.StatefulSetSpec", "replicas", "1"),
    ("apps.StatefulSetSpec", "revisionHistoryLimit", "10"),
    ("authentication.TokenRequestSpec", "expirationSeconds", "3600"),
    ("autoscaling.HorizontalPodAutoscalerSpec", "minReplicas", "1"),
    (
        "autoscaling.v2.HorizontalPodAutoscalerSpec",
        "metrics",
        r#"[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]"#,
    ),
    ("batch.CronJobSpec", "concurrencyPolicy", r#""Allow""#),
    ("batch.CronJobSpec", "failedJobsHistoryLimit", "1"),
    ("batch.CronJobSpec", "successfulJobsHistoryLimit", "3"),
    ("batch.CronJobSpec", "suspend", "false"),
    ("batch.PodFailurePolicyOnPodConditionsPattern", "status", r#""True""#),
    ("core.ConfigMapVolumeSource", "defaultMode", "420"),
    ("core.DownwardAPIVolumeSource", "defaultMode", "420"),
    ("core.HTTPGetAction", "path", r#""/""#),
    ("core.HTTPGetAction", "scheme", r#""HTTP""#),
    ("core.EndpointPort", "protocol", r#""TCP""#),
    ("core.HostPathVolumeSource", "type", r#""""#),
    ("core.NamespaceStatus", "phase", r#""Active""#),
    ("core.ObjectFieldSelector", "apiVersion", r#""v1""#),
    ("core.PersistentVolumeClaimSpec", "volumeMode", r#""Filesystem""#),
    ("core.PersistentVolumeClaimStatus", "phase", r#""Pending""#),
    ("core.PersistentVolumeSpec", "persistentVolumeReclaimPolicy", r#""Retain""#),
    ("core.PersistentVolumeSpec", "volumeMode", r#""Filesystem""#),
    ("core.PersistentVolumeStatus", "phase", r#""Pending""#),
    ("core.Probe", "failureThreshold", "3"),
    ("core.Probe", "periodSeconds", "10"),
    ("core.Probe", "successThreshold", "1"),
    ("core.Probe", "timeoutSeconds", "1"),
    ("core.ProjectedVolumeSource", "defaultMode", "420"),
    ("core.Secret", "type", r#""Opaque""#),
    ("core.SecretVolumeSource", "defaultMode", "420"),
    ("core.ServiceAccountTokenProjection", "expirationSeconds", "3600"),
    ("discovery.EndpointPort", "name", r#""""#),
    ("discovery.EndpointPort", "protocol", r#""TCP""#),
    ("flowcontrol.ExemptPriorityLevelConfiguration", "lendablePercent", "0"),
    ("flowcontrol.ExemptPriorityLevelConfiguration", "nominalConcurrencyShares", "0"),
    ("flowcontrol.FlowSchemaSpec", "matchingPrecedence", "1000"),
    ("flowcontrol.LimitedPriorityLevelConfiguration", "lendablePercent", "0"),
    ("flowcontrol.LimitedPriorityLevelConfiguration", "nominalConcurrencyShares", "30"),
    ("flowcontrol.QueuingConfiguration", "handSize", "8"),
    ("flowcontrol.QueuingConfiguration", "queueLengthLimit", "50"),
    ("flowcontrol.QueuingConfiguration", "queues", "64"),
    ("networking.IngressClassParametersReference", "scope", r#""Cluster""#),
    ("networking.NetworkPolicyPort", "protocol", r#""TCP""#),
    ("scheduling.PriorityClass", "preemptionPolicy", r#""PreemptLowerPriority""#),
    ("storage.CSIDriverSpec", "attachRequired", "true"),
    ("storage.CSIDriverSpec", "fsGroupPolicy", r#""ReadWriteOnceWithFSType""#),
    ("storage.CSIDriverSpec", "podInfoOnMount", "false"),
    ("storage.CSIDriverSpec", "preventPodSchedulingIfMissing", "false"),
    ("storage.CSIDriverSpec", "requiresRepublish", "false"),
    ("storage.CSIDriverSpec", "seLinuxMount", "false"),
    ("storage.CSIDriverSpec", "storageCapacity", "false"),
    ("storage.CSIDriverSpec", "volumeLifecycleModes", r#"["Persistent"]"#),
    ("storage.StorageClass", "reclaimPolicy", r#""Delete""#),
    ("storage.StorageClass", "volumeBindingMode", r#""Immediate""#),
];

/// Whether an entry's type is this one.
fn is_of(known: &str, ty: &Type) -> bool {
    known == short_name(&ty.name)
        || ty.name.strip_suffix(known).is_some_and(|rest| rest.ends_with('.'))
}

/// The entries of one type.
pub(super) fn fields(ty: &Type) -> impl Iterator<Item = (&'static str, Value)> {
    TABLE.iter().filter(move |(known, ..)| is_of(known, ty)).map(|(_, field, json)| {
        let value = serde_json::from_str(json).unwrap_or_else(|_| panic!("defaults table: {json}"));
        (*field, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin_types;

    #[test]
    fn every_entry_is_of_a_field_that_exists() {
        for (ty, field, _) in TABLE {
            let types: Vec<_> = builtin_types().iter().filter(|known| is_of(ty, known)).collect();
            assert!(!types.is_empty(), "{ty}");
            assert!(types.iter().all(|ty| ty.field(field).is_some()), "{ty}.{field}");
        }
    }
}
