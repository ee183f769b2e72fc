//! A pod as scheduling sees it: everything that matters, read once, nothing else kept.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Pod, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::resources::Resources;
use crate::selector::{Labels, NodeRequirements, NodeTerm, Selector};

/// A port of the node that a pod occupies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The address it is opened on; `0.0.0.0` for all.
    pub address: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |port: &Self| port.address == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(self) || any(other) || self.address == other.address)
    }
}

/// One term of pod affinity or anti-affinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityTerm {
    /// The node label whose values are the domains.
    pub topology_key: String,
    selector: Selector,
    namespaces: BTreeSet<String>,
    namespace_selector: Selector,
}

impl AffinityTerm {
    fn new(term: &PodAffinityTerm, namespace: &str) -> Self {
        let mut namespaces: BTreeSet<_> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            selector: Selector::new(term.label_selector.as_ref()),
            namespaces,
            namespace_selector: Selector::new(term.namespace_selector.as_ref()),
        }
    }

    /// Whether the term speaks of a pod; `namespace` are the labels of the pod's namespace.
    pub fn matches(&self, pod: &PodInfo, namespace: &Labels) -> bool {
        (self.namespaces.contains(&pod.namespace) || self.namespace_selector.matches(namespace))
            && self.selector.matches(&pod.labels)
    }
}

/// The terms of a pod's affinity to other pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAffinity {
    /// Must be near all of these.
    pub required: Vec<AffinityTerm>,
    /// Must not be near any of these.
    pub required_anti: Vec<AffinityTerm>,
    /// Would like to be near these, with weights; negative weights for preferred distance.
    pub preferred: Vec<(i64, AffinityTerm)>,
}

impl PodAffinity {
    fn of(spec: &PodSpec, namespace: &str) -> Self {
        let Some(affinity) = &spec.affinity else {
            return Self::default();
        };
        let near = affinity.pod_affinity.as_ref();
        let far = affinity.pod_anti_affinity.as_ref();
        let required = |terms: Option<&Vec<PodAffinityTerm>>| {
            terms.into_iter().flatten().map(|term| AffinityTerm::new(term, namespace)).collect()
        };
        let preferred = |terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i64| {
            let one = |term: &WeightedPodAffinityTerm| {
                (
                    sign * i64::from(term.weight),
                    AffinityTerm::new(&term.pod_affinity_term, namespace),
                )
            };
            terms.into_iter().flatten().map(one).collect::<Vec<_>>()
        };
        let mut weighted = preferred(
            near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            1,
        );
        weighted.extend(preferred(
            far.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            -1,
        ));
        Self {
            required: required(
                near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            required_anti: required(
                far.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: weighted,
        }
    }

    /// Whether the pod says nothing about others.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.required_anti.is_empty() && self.preferred.is_empty()
    }
}

/// A rule for spreading a pod's like over domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadConstraint {
    /// How much one domain may have over the least.
    pub max_skew: i32,
    /// The node label whose values are the domains.
    pub topology_key: String,
    /// Whether it must hold, or is only preferred.
    pub required: bool,
    /// Who counts.
    pub selector: Selector,
    /// Fewer domains than this count as having an empty one.
    pub min_domains: i32,
    /// Whether nodes that the pod's node requirements exclude are left out.
    pub honor_affinity: bool,
    /// Whether nodes with taints that the pod does not tolerate are left out.
    pub honor_taints: bool,
}

impl SpreadConstraint {
    fn new(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let keys = constraint.match_label_keys.iter().flatten();
        let own: Labels =
            keys.filter_map(|key| Some((key.clone(), labels.get(key)?.clone()))).collect();
        Self {
            max_skew: constraint.max_skew,
            topology_key: constraint.topology_key.clone(),
            required: constraint.when_unsatisfiable == "DoNotSchedule",
            selector: Selector::new(constraint.label_selector.as_ref())
                .and(&Selector::of_labels(&own)),
            min_domains: constraint.min_domains.unwrap_or(1),
            honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodInfo {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Who manages it.
    pub controller: Option<OwnerReference>,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// Whether it has succeeded or failed: such a pod needs nothing any more.
    pub finished: bool,
    /// The node it runs on.
    pub node: Option<String>,
    /// The node that was made free for it.
    pub nominated: Option<String>,
    /// Who schedules it.
    pub scheduler: String,
    /// What must be lifted before it may be scheduled.
    pub gates: Vec<String>,
    /// The more, the sooner.
    pub priority: i32,
    /// Whether others may have to go for it.
    pub preempts: bool,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// What it asks for.
    pub requests: Resources,
    /// What it counts for when nodes are scored.
    pub scored: Resources,
    /// The node's ports it takes.
    pub ports: Vec<HostPort>,
    /// What it requires of its node.
    pub node_requirements: NodeRequirements,
    /// What it prefers in its node, with weights.
    pub node_preferences: Vec<(i64, NodeTerm)>,
    /// The taints it tolerates.
    pub tolerations: Vec<Toleration>,
    /// What it says about other pods.
    pub affinity: PodAffinity,
    /// How its like is to be spread.
    pub spread: Vec<SpreadConstraint>,
    /// The images of all its containers.
    pub images: Vec<String>,
    /// The persistent volume claims it mounts.
    pub claims: Vec<String>,
    /// Reason and message of its `PodScheduled` condition, if that is `False`.
    pub unscheduled: Option<(String, String)>,
}

impl PodInfo {
    /// Reads a pod.
    pub fn new(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let metadata = &pod.metadata;
        let status = pod.status.as_ref();
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let labels = metadata.labels.clone().unwrap_or_default();
        let phase = status.and_then(|status| status.phase.as_deref());
        let node_affinity =
            spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = node_affinity
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = node_affinity
            .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        let filled = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation,
            controller: metadata
                .owner_references
                .iter()
                .flatten()
                .find(|o| o.controller == Some(true))
                .cloned(),
            terminating: metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            node: filled(spec.node_name.as_ref()),
            nominated: filled(status.and_then(|status| status.nominated_node_name.as_ref())),
            scheduler: spec.scheduler_name.clone().unwrap_or_default(),
            gates: spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect(),
            priority: spec.priority.unwrap_or_default(),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            requests: Resources::of_pod(pod),
            scored: Resources::of_pod_for_scoring(pod),
            ports: host_ports(spec),
            node_requirements: NodeRequirements::new(spec.node_selector.as_ref(), required),
            node_preferences: preferred
                .into_iter()
                .flatten()
                .map(|term| (i64::from(term.weight), NodeTerm::new(&term.preference)))
                .collect(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            affinity: PodAffinity::of(spec, &namespace),
            spread: spec
                .topology_spread_constraints
                .iter()
                .flatten()
                .map(|constraint| SpreadConstraint::new(constraint, &labels))
                .collect(),
            images: images(spec),
            claims: claims(spec, metadata.name.as_deref().unwrap_or_default()),
            unscheduled: unscheduled(pod),
            namespace,
            labels,
        }
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let filled = |text: Option<&String>, default: &str| match text {
                Some(text) if !text.is_empty() => text.clone(),
                _ => default.to_owned(),
            };
            Some(HostPort {
                address: filled(port.host_ip.as_ref(), "0.0.0.0"),
                protocol: filled(port.protocol.as_ref(), "TCP"),
                port: port.host_port.filter(|port| *port > 0)?,
            })
        })
        .collect()
}

fn images(spec: &PodSpec) -> Vec<String> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.filter_map(|container| container.image.as_deref()).map(normalized_image).collect()
}

/// An image name with its tag: `:latest` if it has none.
pub(crate) fn normalized_image(name: &str) -> String {
    let tagged = name.rfind(':') > name.rfind('/') || name.contains('@');
    if tagged { name.to_owned() } else { format!("{name}:latest") }
}

fn claims(spec: &PodSpec, pod: &str) -> Vec<String> {
    let claim = |volume: &k8s_openapi::api::core::v1::Volume| match &volume.persistent_volume_claim
    {
        Some(source) => Some(source.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{pod}-{}", volume.name)),
    };
    spec.volumes.iter().flatten().filter_map(claim).collect()
}

fn unscheduled(pod: &Pod) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    Some((
        condition.reason.clone().unwrap_or_default(),
        condition.message.clone().unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_conflict_on_equal_or_wildcard_addresses() {
        let port = |address: &str, protocol: &str, port| HostPort {
            address: address.into(),
            protocol: protocol.into(),
            port,
        };
        let cases = [
            (port("0.0.0.0", "TCP", 80), port("0.0.0.0", "TCP", 80), true),
            (port("0.0.0.0", "TCP", 80), port("10.0.0.1", "TCP", 80), true),
            (port("10.0.0.2", "TCP", 80), port("10.0.0.1", "TCP", 80), false),
            (port("0.0.0.0", "TCP", 80), port("0.0.0.0", "UDP", 80), false),
            (port("0.0.0.0", "TCP", 80), port("0.0.0.0", "TCP", 81), false),
        ];
        for (a, b, conflicts) in cases {
            assert_eq!(a.conflicts(&b), conflicts, "{a:?} {b:?}");
            assert_eq!(b.conflicts(&a), conflicts, "{b:?} {a:?}");
        }
    }

    #[test]
    fn an_image_without_tag_is_the_latest() {
        let cases = [
            ("web", "web:latest"),
            ("web:1", "web:1"),
            ("host:5000/web", "host:5000/web:latest"),
            ("host:5000/web:1", "host:5000/web:1"),
            ("web@sha256:00", "web@sha256:00"),
        ];
        for (name, expected) in cases {
            assert_eq!(normalized_image(name), expected);
        }
    }
}
