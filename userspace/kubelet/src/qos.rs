//! The quality-of-service class of a pod, from its requests and limits.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::quantity;

/// What a pod was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    /// The class of a pod; what the API server recorded wins, as it never changes.
    pub(crate) fn of(pod: &Pod) -> Self {
        match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
            Some("Guaranteed") => Self::Guaranteed,
            Some("Burstable") => Self::Burstable,
            Some("BestEffort") => Self::BestEffort,
            _ => Self::computed(pod),
        }
    }

    fn computed(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::BestEffort };
        if let Some(resources) = &spec.resources {
            let one = of_one(Some(resources));
            if one != Self::BestEffort {
                return one;
            }
        }
        let all: Vec<&Container> =
            spec.init_containers.iter().flatten().chain(&spec.containers).collect();
        let classes: Vec<Self> = all.iter().map(|c| of_one(c.resources.as_ref())).collect();
        if classes.iter().all(|class| *class == Self::BestEffort) {
            Self::BestEffort
        } else if classes.iter().all(|class| *class == Self::Guaranteed) {
            Self::Guaranteed
        } else {
            Self::Burstable
        }
    }

    /// As the API writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// How readily the kernel kills a container when memory runs out.
    pub(crate) fn oom_score_adj(self, memory_request: i64, memory_capacity: i64) -> i64 {
        match self {
            Self::Guaranteed => -997,
            Self::BestEffort => 1000,
            Self::Burstable => {
                let share =
                    1000_i128 * i128::from(memory_request) / i128::from(memory_capacity.max(1));
                // Never as safe as a guaranteed container, never as exposed as a best-effort one.
                1000 - i64::try_from(share).unwrap_or(1000).clamp(1, 997)
            }
        }
    }
}

fn of_one(resources: Option<&ResourceRequirements>) -> Class {
    let value = |list: Option<&std::collections::BTreeMap<String, _>>, name: &str| {
        list.and_then(|list| list.get(name)).and_then(quantity::milli).filter(|value| *value > 0)
    };
    let Some(resources) = resources else { return Class::BestEffort };
    let (requests, limits) = (resources.requests.as_ref(), resources.limits.as_ref());
    let mut any = false;
    let mut equal = true;
    for name in ["cpu", "memory"] {
        let limit = value(limits, name);
        let request = value(requests, name).or(limit);
        any |= request.is_some() || limit.is_some();
        equal &= limit.is_some() && request == limit;
    }
    match (any, equal) {
        (false, _) => Class::BestEffort,
        (true, true) => Class::Guaranteed,
        (true, false) => Class::Burstable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        for (case, containers, expected) in [
            ("nothing asked", json!([{"name": "a"}]), Class::BestEffort),
            ("all limits", json!([{"name": "a", "resources": full}]), Class::Guaranteed),
            (
                "request below limit",
                json!([{"name": "a", "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}}}]),
                Class::Burstable,
            ),
            (
                "one of two asks",
                json!([{"name": "a", "resources": full}, {"name": "b"}]),
                Class::Burstable,
            ),
            (
                "only an unknown resource",
                json!([{"name": "a", "resources": {"limits": {"example.com/x": "1"}}}]),
                Class::BestEffort,
            ),
        ] {
            let pod = serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap();
            assert_eq!(Class::of(&pod), expected, "{case}");
        }
    }

    #[test]
    fn a_larger_share_of_memory_is_safer() {
        assert_eq!(Class::Burstable.oom_score_adj(0, 1000), 999);
        assert_eq!(Class::Burstable.oom_score_adj(500, 1000), 500);
        assert_eq!(Class::Burstable.oom_score_adj(1000, 1000), 3);
    }
}
