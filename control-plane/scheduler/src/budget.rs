//! Disruption budgets: how many pods of a kind may go at once without harm that somebody minds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::pod::PodInfo;
use crate::selector::Selector;

/// A budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    selector: Selector,
    /// How many more may go now.
    allowed: i64,
    /// Pods that are going already and are counted.
    going: BTreeSet<String>,
}

impl Budget {
    /// Reads a budget.
    pub fn new(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.as_ref();
        let going = status.and_then(|status| status.disrupted_pods.as_ref());
        Self {
            selector: Selector::new(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
            allowed: status.and_then(|status| status.disruptions_allowed).map_or(0, i64::from),
            going: going.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        }
    }
}

/// All budgets, by namespace and name.
#[derive(Debug, Default)]
pub struct Budgets(HashMap<(String, String), Budget>);

impl Budgets {
    /// Takes a budget, or forgets it.
    pub fn set(&mut self, namespace: String, name: String, budget: Option<Budget>) {
        match budget {
            Some(budget) => self.0.insert((namespace, name), budget),
            None => self.0.remove(&(namespace, name)),
        };
    }

    /// Parts pods, in their order, into those whose going would overdraw a budget and the others.
    pub fn part(&self, pods: Vec<Arc<PodInfo>>) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
        let mut left: HashMap<_, _> =
            self.0.iter().map(|(key, budget)| (key, budget.allowed)).collect();
        pods.into_iter().partition(|pod| {
            let mut overdrawn = false;
            for (key, budget) in &self.0 {
                let speaks = key.0 == pod.namespace
                    && !pod.labels.is_empty()
                    && !budget.selector.is_empty()
                    && budget.selector.matches(&pod.labels)
                    && !budget.going.contains(&pod.name);
                if let (true, Some(left)) = (speaks, left.get_mut(key)) {
                    *left -= 1;
                    overdrawn |= *left < 0;
                }
            }
            overdrawn
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str) -> Arc<PodInfo> {
        let labels = [("app".to_owned(), app.to_owned())].into();
        Arc::new(PodInfo { name: name.into(), namespace: "a".into(), labels, ..PodInfo::default() })
    }

    #[test]
    fn a_budget_is_overdrawn_by_the_pods_beyond_it() {
        let budget = json!({
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
            "status": {
                "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3,
                "disruptedPods": {"going": "2026-01-01T00:00:00Z"},
            },
        });
        let mut budgets = Budgets::default();
        let budget = Budget::new(&serde_json::from_value(budget).unwrap());
        budgets.set("a".into(), "web".into(), Some(budget.clone()));
        budgets.set("b".into(), "web".into(), Some(budget));
        let pods = vec![pod("going", "web"), pod("x", "web"), pod("other", "db"), pod("y", "web")];
        let (overdrawn, free) = budgets.part(pods);
        let names =
            |pods: &[Arc<PodInfo>]| pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&overdrawn), ["y"]);
        assert_eq!(names(&free), ["going", "x", "other"]);
    }
}
