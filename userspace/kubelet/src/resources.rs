//! Requests and limits as the numbers that control groups take.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skep_cri::v1::LinuxContainerResources;

use crate::{qos, quantity};

/// The period over which processor limits count.
const QUOTA_PERIOD_US: i64 = 100_000;
/// The kernel's bounds.
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA_US: i64 = 1000;

/// Processor and memory of one container or of a whole pod; zero memory or no quota: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) cpu_request_milli: i64,
    pub(crate) cpu_limit_milli: Option<i64>,
    pub(crate) memory_request_bytes: i64,
    pub(crate) memory_limit_bytes: Option<i64>,
}

impl Amounts {
    /// What one container asks for.
    pub(crate) fn of(resources: Option<&ResourceRequirements>) -> Self {
        let empty = BTreeMap::new();
        let requests = resources.and_then(|r| r.requests.as_ref()).unwrap_or(&empty);
        let limits = resources.and_then(|r| r.limits.as_ref()).unwrap_or(&empty);
        let get =
            |list: &BTreeMap<String, Quantity>, name: &str, read: fn(&Quantity) -> Option<i64>| {
                list.get(name).and_then(read).filter(|value| *value > 0)
            };
        let cpu_limit_milli = get(limits, "cpu", quantity::milli);
        let memory_limit_bytes = get(limits, "memory", quantity::units);
        let request =
            |name: &str, read: fn(&Quantity) -> Option<i64>, limit: Option<i64>| match requests
                .contains_key(name)
            {
                true => get(requests, name, read).unwrap_or(0),
                false => limit.unwrap_or(0),
            };
        Self {
            cpu_request_milli: request("cpu", quantity::milli, cpu_limit_milli),
            cpu_limit_milli,
            memory_request_bytes: request("memory", quantity::units, memory_limit_bytes),
            memory_limit_bytes,
        }
    }

    /// What the pod's own control group gets: the containers that run together, or the largest of
    /// those that run alone before them. A limit only where every container has one.
    pub(crate) fn of_pod(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let mut together = spec
            .containers
            .iter()
            .map(|container| Self::of(container.resources.as_ref()))
            .reduce(Self::plus)
            .unwrap_or_default();
        let mut sidecars =
            Self { cpu_limit_milli: Some(0), memory_limit_bytes: Some(0), ..Self::default() };
        let mut alone = sidecars;
        for container in spec.init_containers.iter().flatten() {
            let one = Self::of(container.resources.as_ref());
            if is_sidecar(container) {
                sidecars = sidecars.plus(one);
                alone = alone.largest(sidecars);
            } else {
                alone = alone.largest(sidecars.plus(one));
            }
        }
        together = together.plus(sidecars).largest(alone);
        let pod_level = Self::of(spec.resources.as_ref());
        if spec.resources.is_some() {
            together = Self {
                cpu_request_milli: pod_level.cpu_request_milli.max(together.cpu_request_milli),
                memory_request_bytes: pod_level
                    .memory_request_bytes
                    .max(together.memory_request_bytes),
                cpu_limit_milli: pod_level.cpu_limit_milli.or(together.cpu_limit_milli),
                memory_limit_bytes: pod_level.memory_limit_bytes.or(together.memory_limit_bytes),
            };
        }
        together
    }

    /// As an annotation keeps them.
    pub(crate) fn to_text(self) -> String {
        let or_none = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        format!(
            "{} {} {} {}",
            self.cpu_request_milli,
            or_none(self.cpu_limit_milli),
            self.memory_request_bytes,
            or_none(self.memory_limit_bytes)
        )
    }

    /// From an annotation; none if it is not one.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut number = || match words.next()? {
            "-" => Some(None),
            word => word.parse().ok().map(Some),
        };
        Some(Self {
            cpu_request_milli: number()??,
            cpu_limit_milli: number()?,
            memory_request_bytes: number()??,
            memory_limit_bytes: number()?,
        })
    }

    fn plus(self, other: Self) -> Self {
        let sum = |a: Option<i64>, b: Option<i64>| Some(a?.saturating_add(b?));
        Self {
            cpu_request_milli: self.cpu_request_milli.saturating_add(other.cpu_request_milli),
            cpu_limit_milli: sum(self.cpu_limit_milli, other.cpu_limit_milli),
            memory_request_bytes: self
                .memory_request_bytes
                .saturating_add(other.memory_request_bytes),
            memory_limit_bytes: sum(self.memory_limit_bytes, other.memory_limit_bytes),
        }
    }

    fn largest(self, other: Self) -> Self {
        let max = |a: Option<i64>, b: Option<i64>| Some(a?.max(b?));
        Self {
            cpu_request_milli: self.cpu_request_milli.max(other.cpu_request_milli),
            cpu_limit_milli: max(self.cpu_limit_milli, other.cpu_limit_milli),
            memory_request_bytes: self.memory_request_bytes.max(other.memory_request_bytes),
            memory_limit_bytes: max(self.memory_limit_bytes, other.memory_limit_bytes),
        }
    }

    /// Weight of the processor share, in cgroup v1 units.
    pub(crate) fn cpu_shares(self) -> i64 {
        (self.cpu_request_milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
    }

    /// Microseconds per period; none means no limit.
    pub(crate) fn cpu_quota_us(self) -> Option<i64> {
        let milli = self.cpu_limit_milli.filter(|milli| *milli > 0)?;
        Some((milli.saturating_mul(QUOTA_PERIOD_US) / 1000).max(MIN_QUOTA_US))
    }

    /// As the runtime takes them.
    pub(crate) fn to_cri(self, class: qos::Class, memory_capacity: i64) -> LinuxContainerResources {
        LinuxContainerResources {
            cpu_period: QUOTA_PERIOD_US,
            cpu_quota: self.cpu_quota_us().unwrap_or(0),
            cpu_shares: self.cpu_shares(),
            memory_limit_in_bytes: self.memory_limit_bytes.unwrap_or(0),
            oom_score_adj: class.oom_score_adj(self.memory_request_bytes, memory_capacity),
            ..Default::default()
        }
    }
}

impl Amounts {
    /// Like [`Amounts::to_cri`], for a container that runs: zero would leave an old limit in force.
    pub(crate) fn to_cri_update(
        self,
        class: qos::Class,
        memory_capacity: i64,
    ) -> LinuxContainerResources {
        let resources = self.to_cri(class, memory_capacity);
        LinuxContainerResources {
            cpu_quota: self.cpu_quota_us().unwrap_or(-1),
            memory_limit_in_bytes: self.memory_limit_bytes.unwrap_or(-1),
            ..resources
        }
    }
}

/// An init container that keeps running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    #[test]
    fn limits_stand_in_for_requests() {
        let resources =
            serde_json::from_value(json!({"limits": {"cpu": "250m", "memory": "64Mi"}})).unwrap();
        let amounts = Amounts::of(Some(&resources));
        assert_eq!((amounts.cpu_shares(), amounts.cpu_quota_us()), (256, Some(25_000)));
        assert_eq!(amounts.memory_limit_bytes, Some(64 << 20));
        assert_eq!(Amounts::of(None).cpu_shares(), MIN_SHARES);
    }

    #[test]
    fn annotations_come_back() {
        let full = Amounts {
            cpu_request_milli: 1,
            cpu_limit_milli: Some(2),
            memory_request_bytes: 3,
            memory_limit_bytes: None,
        };
        assert_eq!(Amounts::from_text(&full.to_text()), Some(full));
        for text in ["", "1 2 3", "a b c d"] {
            assert_eq!(Amounts::from_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_pod_adds_up() {
        let some = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "1Mi"}});
        let big = json!({"limits": {"cpu": "1", "memory": "5Mi"}});
        for (case, spec, request, limit) in [
            (
                "two containers add up",
                json!({"containers": [{"name": "a", "resources": some}, {"name": "b", "resources": some}]}),
                200,
                Some(400),
            ),
            (
                "one without a limit lifts it",
                json!({"containers": [{"name": "a", "resources": some}, {"name": "b"}]}),
                100,
                None,
            ),
            (
                "a large init container counts alone",
                json!({"initContainers": [{"name": "i", "resources": big}], "containers": [{"name": "a", "resources": some}]}),
                1000,
                Some(1000),
            ),
            (
                "a sidecar counts with the containers",
                json!({"initContainers": [{"name": "s", "restartPolicy": "Always", "resources": big}],
                       "containers": [{"name": "a", "resources": some}]}),
                1100,
                Some(1200),
            ),
        ] {
            let amounts = Amounts::of_pod(&pod(&spec));
            assert_eq!(
                (amounts.cpu_request_milli, amounts.cpu_limit_milli),
                (request, limit),
                "{case}"
            );
        }
    }
}
