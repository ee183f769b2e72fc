//! Amounts of resources: what pods ask for and what nodes have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::{milli, units};

/// What a container that asks for no CPU counts as when nodes are scored.
const DEFAULT_CPU_MILLI: i64 = 100;
/// What a container that asks for no memory counts as when nodes are scored.
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// Amounts of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of ephemeral storage.
    pub storage_bytes: i64,
    /// Everything else, by name.
    pub scalars: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list; `pods` is not among the amounts.
    pub fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            match name.as_str() {
                "cpu" => amounts.cpu_milli = milli(quantity),
                "memory" => amounts.memory_bytes = units(quantity),
                "ephemeral-storage" => amounts.storage_bytes = units(quantity),
                "pods" => {}
                _ => {
                    amounts.scalars.insert(name.clone(), units(quantity));
                }
            }
        }
        amounts
    }

    /// Whether nothing is asked for.
    pub fn is_zero(&self) -> bool {
        self.cpu_milli == 0
            && self.memory_bytes == 0
            && self.storage_bytes == 0
            && self.scalars.is_empty()
    }

    /// Adds `times` times the other amounts; `times` may be negative.
    pub fn add(&mut self, other: &Self, times: i64) {
        self.cpu_milli += other.cpu_milli * times;
        self.memory_bytes += other.memory_bytes * times;
        self.storage_bytes += other.storage_bytes * times;
        for (name, amount) in &other.scalars {
            *self.scalars.entry(name.clone()).or_default() += amount * times;
        }
    }

    fn raise_to(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.storage_bytes = self.storage_bytes.max(other.storage_bytes);
        for (name, amount) in &other.scalars {
            let own = self.scalars.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }

    fn with_defaults(mut self, list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let has = |name| list.is_some_and(|list| list.contains_key(name));
        if !has("cpu") {
            self.cpu_milli = DEFAULT_CPU_MILLI;
        }
        if !has("memory") {
            self.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        self
    }

    /// What a pod asks for: the most that its containers need at any moment, what the pod asks for
    /// as a whole, and the overhead of its runtime.
    pub fn of_pod(pod: &Pod) -> Self {
        Self::aggregate(pod, false)
    }

    /// The same with defaults for containers that do not say: what nodes are scored by, so that
    /// such pods count for something.
    pub fn of_pod_for_scoring(pod: &Pod) -> Self {
        Self::aggregate(pod, true)
    }

    fn aggregate(pod: &Pod, defaults: bool) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let of = |container: &Container| {
            let list =
                container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
            let amounts = Self::from_list(list);
            if defaults { amounts.with_defaults(list) } else { amounts }
        };
        let mut total = Self::default();
        for container in &spec.containers {
            total.add(&of(container), 1);
        }
        // An init container runs beside the sidecars started before it.
        let (mut sidecars, mut peak) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let amounts = of(container);
            if container.restart_policy.as_deref() == Some("Always") {
                total.add(&amounts, 1);
                sidecars.add(&amounts, 1);
                peak.raise_to(&sidecars);
            } else {
                let mut at_once = sidecars.clone();
                at_once.add(&amounts, 1);
                peak.raise_to(&at_once);
            }
        }
        total.raise_to(&peak);
        total.override_with(
            spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()),
        );
        total.add(&Self::from_list(spec.overhead.as_ref()), 1);
        total
    }

    /// Requests of the pod as a whole take the place of its containers'.
    fn override_with(&mut self, list: Option<&BTreeMap<String, Quantity>>) {
        for (name, quantity) in list.into_iter().flatten() {
            match name.as_str() {
                "cpu" => self.cpu_milli = milli(quantity),
                "memory" => self.memory_bytes = units(quantity),
                name if name.starts_with("hugepages-") => {
                    self.scalars.insert(name.to_owned(), units(quantity));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn cpu(amount: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": amount}}})
    }

    #[test]
    fn a_pod_asks_for_the_most_it_needs_at_any_moment() {
        let sidecar = |amount: &str| {
            let mut container = cpu(amount);
            container["restartPolicy"] = "Always".into();
            container
        };
        let cases = [
            (json!({"containers": [cpu("100m"), cpu("200m")]}), 300),
            (json!({"containers": [cpu("100m")], "initContainers": [cpu("1")]}), 1000),
            (json!({"containers": [cpu("100m")], "initContainers": [cpu("50m"), cpu("80m")]}), 100),
            (
                json!({"containers": [cpu("100m")], "initContainers": [sidecar("50m"), cpu("200m")]}),
                250,
            ),
            (
                json!({"containers": [cpu("100m")], "initContainers": [cpu("200m"), sidecar("50m")]}),
                200,
            ),
            (json!({"containers": [cpu("100m")], "initContainers": [sidecar("1")]}), 1100),
            (json!({"containers": [cpu("100m")], "overhead": {"cpu": "10m"}}), 110),
            (json!({"containers": [cpu("100m")], "resources": {"requests": {"cpu": "1"}}}), 1000),
        ];
        for (spec, expected) in cases {
            assert_eq!(Resources::of_pod(&pod(&spec)).cpu_milli, expected, "{spec}");
        }
    }

    #[test]
    fn a_pod_that_asks_for_nothing_counts_when_scored() {
        let spec = json!({"containers": [{"name": "a"}, cpu("0")]});
        assert!(Resources::of_pod(&pod(&spec)).is_zero());
        let scored = Resources::of_pod_for_scoring(&pod(&spec));
        assert_eq!((scored.cpu_milli, scored.memory_bytes), (100, 2 * DEFAULT_MEMORY_BYTES));
    }

    #[test]
    fn extended_resources_are_kept_by_name() {
        let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "2", "pods": "5"}}}]});
        let amounts = Resources::of_pod(&pod(&spec));
        assert_eq!(amounts.scalars, BTreeMap::from([("example.com/gpu".to_owned(), 2)]));
    }
}
