//! Rules for one field of one type, as a table.

use serde_json::Value;

use crate::quantity::Quantity;
use crate::schema::Field;
use crate::status::FieldError;
use crate::syntax;

/// What a field must be.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// There, and not empty
    Required(&'static str),
    /// One of the values of its enumeration
    Known,
    /// One of these
    OneOf(&'static [&'static str]),
    /// Text of this syntax
    Syntax(fn(&str) -> Vec<String>),
    /// A number from here on
    AtLeast(i64),
    /// A number above zero
    Positive,
    /// A port
    Port,
    /// A port's number or its name
    PortOrName,
    /// `10.9.8.0/24`
    Cidr,
}

use Rule::{AtLeast, Cidr, Known, OneOf, Port, PortOrName, Positive, Required, Syntax};

const TABLE: &[(&str, &str, &[Rule])] = &[
    ("apps.DaemonSetSpec", "minReadySeconds", &[AtLeast(0)]),
    ("apps.DaemonSetSpec", "revisionHistoryLimit", &[AtLeast(0)]),
    ("apps.DaemonSetUpdateStrategy", "type", &[Known]),
    ("apps.DeploymentSpec", "minReadySeconds", &[AtLeast(0)]),
    ("apps.DeploymentSpec", "progressDeadlineSeconds", &[AtLeast(0)]),
    ("apps.DeploymentSpec", "replicas", &[AtLeast(0)]),
    ("apps.DeploymentSpec", "revisionHistoryLimit", &[AtLeast(0)]),
    ("apps.DeploymentStrategy", "type", &[Known]),
    ("apps.ReplicaSetSpec", "minReadySeconds", &[AtLeast(0)]),
    ("apps.ReplicaSetSpec", "replicas", &[AtLeast(0)]),
    ("apps.StatefulSetSpec", "minReadySeconds", &[AtLeast(0)]),
    ("apps.StatefulSetSpec", "podManagementPolicy", &[Known]),
    ("apps.StatefulSetSpec", "replicas", &[AtLeast(0)]),
    ("apps.StatefulSetUpdateStrategy", "type", &[Known]),
    ("autoscaling.CrossVersionObjectReference", "kind", &[Required("")]),
    ("autoscaling.CrossVersionObjectReference", "name", &[Required("")]),
    ("batch.CronJobSpec", "concurrencyPolicy", &[Known]),
    ("batch.CronJobSpec", "failedJobsHistoryLimit", &[AtLeast(0)]),
    ("batch.CronJobSpec", "schedule", &[Required("")]),
    ("batch.CronJobSpec", "startingDeadlineSeconds", &[AtLeast(0)]),
    ("batch.CronJobSpec", "successfulJobsHistoryLimit", &[AtLeast(0)]),
    ("batch.JobSpec", "activeDeadlineSeconds", &[AtLeast(0)]),
    ("batch.JobSpec", "backoffLimit", &[AtLeast(0)]),
    ("batch.JobSpec", "completionMode", &[Known]),
    ("batch.JobSpec", "completions", &[AtLeast(0)]),
    ("batch.JobSpec", "parallelism", &[AtLeast(0)]),
    ("batch.JobSpec", "ttlSecondsAfterFinished", &[AtLeast(0)]),
    ("coordination.LeaseSpec", "leaseDurationSeconds", &[Positive]),
    ("coordination.LeaseSpec", "leaseTransitions", &[AtLeast(0)]),
    ("core.Container", "image", &[Required("")]),
    ("core.Container", "imagePullPolicy", &[Known]),
    ("core.Container", "name", &[Required(""), Syntax(syntax::dns_label)]),
    ("core.Container", "terminationMessagePolicy", &[Known]),
    ("core.ContainerPort", "containerPort", &[Required(""), Port]),
    ("core.ContainerPort", "hostPort", &[Port]),
    ("core.ContainerPort", "name", &[Syntax(syntax::port_name)]),
    ("core.ContainerPort", "protocol", &[Known]),
    ("core.EnvVar", "name", &[Required(""), Syntax(syntax::env_name)]),
    ("core.HTTPGetAction", "path", &[Required("")]),
    ("core.HTTPGetAction", "port", &[PortOrName]),
    ("core.HTTPGetAction", "scheme", &[Known]),
    ("core.HostPathVolumeSource", "path", &[Required("")]),
    ("core.LimitRangeItem", "type", &[Required("")]),
    ("core.NodeSelectorRequirement", "key", &[Syntax(syntax::qualified_name)]),
    (
        "core.PersistentVolumeClaimSpec",
        "accessModes",
        &[Required("at least 1 access mode is required"), Known],
    ),
    (
        "core.NodeSelector",
        "nodeSelectorTerms",
        &[Required("must have at least one node selector term")],
    ),
    ("core.PersistentVolumeClaimSpec", "volumeMode", &[Known]),
    ("core.PersistentVolumeClaimVolumeSource", "claimName", &[Required("")]),
    ("core.PersistentVolumeSpec", "accessModes", &[Required(""), Known]),
    ("core.PersistentVolumeSpec", "capacity", &[Required("")]),
    ("core.PersistentVolumeSpec", "persistentVolumeReclaimPolicy", &[Known]),
    ("core.PodSpec", "activeDeadlineSeconds", &[AtLeast(1)]),
    ("core.PodSpec", "containers", &[Required("")]),
    ("core.PodSpec", "hostname", &[Syntax(syntax::dns_label)]),
    ("core.PodSpec", "serviceAccountName", &[Syntax(syntax::dns_subdomain)]),
    ("core.PodSpec", "subdomain", &[Syntax(syntax::dns_label)]),
    ("core.PodSpec", "terminationGracePeriodSeconds", &[AtLeast(0)]),
    ("core.Probe", "failureThreshold", &[AtLeast(0)]),
    ("core.Probe", "initialDelaySeconds", &[AtLeast(0)]),
    ("core.Probe", "periodSeconds", &[AtLeast(0)]),
    ("core.Probe", "successThreshold", &[AtLeast(0)]),
    ("core.Probe", "timeoutSeconds", &[AtLeast(0)]),
    ("core.ServicePort", "port", &[Port]),
    ("core.ServicePort", "protocol", &[OneOf(&["SCTP", "TCP", "UDP"])]),
    ("core.ServicePort", "targetPort", &[PortOrName]),
    ("core.ServiceSpec", "externalTrafficPolicy", &[OneOf(&["Cluster", "Local"])]),
    ("core.ServiceSpec", "internalTrafficPolicy", &[OneOf(&["Cluster", "Local"])]),
    ("core.ServiceSpec", "sessionAffinity", &[OneOf(&["ClientIP", "None"])]),
    (
        "core.ServiceSpec",
        "type",
        &[OneOf(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])],
    ),
    ("core.Sysctl", "name", &[Required(""), Syntax(syntax::sysctl_name)]),
    ("core.TCPSocketAction", "port", &[PortOrName]),
    (
        "core.Taint",
        "effect",
        &[Required(""), OneOf(&["NoExecute", "NoSchedule", "PreferNoSchedule"])],
    ),
    ("core.Taint", "key", &[Required(""), Syntax(syntax::qualified_name)]),
    ("core.Volume", "name", &[Required(""), Syntax(syntax::dns_label)]),
    ("core.VolumeMount", "mountPath", &[Required("")]),
    ("core.VolumeMount", "name", &[Required("")]),
    ("discovery.EndpointSlice", "addressType", &[Required(""), OneOf(&["FQDN", "IPv4", "IPv6"])]),
    (
        "networking.HTTPIngressPath",
        "pathType",
        &[
            Required("pathType must be specified"),
            OneOf(&["Exact", "ImplementationSpecific", "Prefix"]),
        ],
    ),
    ("networking.IPBlock", "cidr", &[Required(""), Cidr]),
    ("networking.NetworkPolicyPort", "port", &[PortOrName]),
    ("networking.NetworkPolicyPort", "protocol", &[OneOf(&["SCTP", "TCP", "UDP"])]),
    ("networking.NetworkPolicySpec", "policyTypes", &[OneOf(&["Egress", "Ingress"])]),
    ("rbac.RoleRef", "name", &[Required("")]),
    ("rbac.Subject", "name", &[Required("")]),
    ("scheduling.PriorityClass", "preemptionPolicy", &[OneOf(&["Never", "PreemptLowerPriority"])]),
    ("storage.StorageClass", "provisioner", &[Required("")]),
    ("storage.StorageClass", "reclaimPolicy", &[Known]),
    ("storage.StorageClass", "volumeBindingMode", &[Known]),
];

/// The rules of one type.
pub(super) fn of(ty: &str) -> Vec<(&'static str, &'static [Rule])> {
    TABLE
        .iter()
        .filter(|(known, ..)| *known == ty)
        .map(|(_, field, rules)| (*field, *rules))
        .collect()
}

impl Rule {
    /// Checks a field's value at `path`; but for [`Required`], a field that is not set is fine.
    pub(super) fn check(
        self,
        field: &Field,
        value: Option<&Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        match (self, value) {
            (Required(detail), None) => errors.push(FieldError::required(path, detail)),
            (Required(detail), Some(value)) if is_empty(value) => {
                errors.push(FieldError::required(path, detail));
            }
            (Required(_), _) => {}
            (PortOrName, None) => check_port_or_name(&Value::from(0), path, errors),
            (Port, None) if !field.required => {}
            (Port, None) => check_port(0, path, errors),
            (_, None) => {}
            (Known, Some(value)) => {
                let known: Vec<&str> = field.values.iter().map(AsRef::as_ref).collect();
                check_known(value, &known, path, errors);
            }
            (OneOf(known), Some(value)) => check_known(value, known, path, errors),
            (Syntax(check), Some(value)) => {
                let text = value.as_str().filter(|text| !text.is_empty());
                let wrong = text.map(check).into_iter().flatten();
                errors.extend(wrong.map(|why| FieldError::invalid(path, value.clone(), why)));
            }
            (AtLeast(least), Some(value)) => {
                let detail = if least == 1 {
                    "must be between 1 and 2147483647, inclusive".to_owned()
                } else {
                    format!("must be greater than or equal to {least}")
                };
                if value.as_i64().is_some_and(|number| number < least) {
                    errors.push(FieldError::invalid(path, value.clone(), detail));
                }
            }
            (Positive, Some(value)) => {
                if value.as_i64().is_some_and(|number| number <= 0) {
                    errors.push(FieldError::invalid(path, value.clone(), "must be greater than 0"));
                }
            }
            (Port, Some(value)) => check_port(value.as_i64().unwrap_or_default(), path, errors),
            (PortOrName, Some(value)) => check_port_or_name(value, path, errors),
            (Cidr, Some(value)) => {
                if !value.as_str().is_some_and(|text| text.is_empty() || is_cidr(text)) {
                    let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                    errors.push(FieldError::invalid(path, value.clone(), detail));
                }
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

fn check_known(value: &Value, known: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let check = |value: &Value, errors: &mut Vec<FieldError>| {
        if !value.as_str().is_some_and(|text| known.contains(&text)) {
            errors.push(FieldError::not_supported(path, value.clone(), known));
        }
    };
    match value {
        Value::Array(list) => list.iter().for_each(|item| check(item, errors)),
        value => check(value, errors),
    }
}

fn check_port(number: i64, path: &str, errors: &mut Vec<FieldError>) {
    let wrong = syntax::port_number(number).into_iter();
    errors.extend(wrong.map(|why| FieldError::invalid(path, number, why)));
}

fn check_port_or_name(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(name) => {
            let wrong = syntax::port_name(name).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(path, name.as_str(), why)));
        }
        number => check_port(number.as_i64().unwrap_or_default(), path, errors),
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let bits = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= bits)
}

/// Amounts of a list of resources: none below zero.
pub(super) fn check_amounts(list: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (name, amount) in list.as_object().into_iter().flatten() {
        let quantity = amount.as_str().and_then(|text| Quantity::parse(text).ok());
        if quantity.is_some_and(|quantity| quantity.is_negative()) {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("{path}[{name}]"), amount.clone(), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::short_name;
    use crate::schema::builtin_types;

    #[test]
    fn every_rule_is_of_a_field_that_exists() {
        for (ty, field, rules) in TABLE {
            let types: Vec<_> =
                builtin_types().iter().filter(|known| short_name(&known.name) == *ty).collect();
            assert!(!types.is_empty(), "{ty}");
            for known in types {
                let field = known.field(field).unwrap_or_else(|| panic!("{ty}.{field}"));
                let needs_values = rules.iter().any(|rule| matches!(rule, Known));
                assert!(
                    !needs_values || !field.values.is_empty(),
                    "{ty}.{} has no enumeration",
                    field.name
                );
            }
        }
    }
}
