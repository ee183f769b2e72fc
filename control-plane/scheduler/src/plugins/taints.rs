//! TaintToleration: taints keep away pods that do not tolerate them, or make the node less wanted.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection, ScorePlugin, normalize};
use crate::pod::PodInfo;

const NAME: &str = "TaintToleration";

pub(super) struct TaintToleration;

/// Whether one of the tolerations tolerates the taint.
pub(super) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    tolerations.iter().any(|toleration| {
        let (effect, key) = (text(&toleration.effect), text(&toleration.key));
        let fits = match text(&toleration.operator).as_str() {
            "" | "Equal" => text(&toleration.value) == text(&taint.value),
            "Exists" => true,
            _ => false,
        };
        (effect.is_empty() || effect == taint.effect)
            && (key.is_empty() || key == taint.key)
            && fits
    })
}

/// Whether the pod may not be there: a taint that keeps pods off and is not tolerated.
pub(super) fn is_kept_off(pod: &PodInfo, node: &NodeInfo) -> bool {
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    node.taints.iter().filter(hard).any(|taint| !tolerates(&pod.tolerations, taint))
}

impl FilterPlugin for TaintToleration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        _cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        Ok(Some(Box::new(Tolerant(pod))))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        matches!(change, Change::Node { now, .. } if !is_kept_off(pod, now))
    }
}

struct Tolerant<'a>(&'a PodInfo);

impl<'a> NodeFilter<'a> for Tolerant<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if is_kept_off(self.0, node) {
            return Err(Rejection::lasting(NAME, "node(s) had untolerated taint(s)"));
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(Tolerant(self.0))
    }
}

impl ScorePlugin for TaintToleration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, pod: &PodInfo, _cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let soft = |taint: &&Taint| taint.effect == "PreferNoSchedule";
        let disliked = |node: &&NodeInfo| {
            let taints = node.taints.iter().filter(soft);
            i64::try_from(taints.filter(|taint| !tolerates(&pod.tolerations, taint)).count())
                .unwrap_or(i64::MAX)
        };
        Some(normalize(nodes.iter().map(disliked).collect(), true))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn taint(text: &str) -> Taint {
        let (pair, effect) = text.split_once(':').unwrap();
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            time_added: None,
        }
    }

    #[test]
    fn tolerations_match_key_value_and_effect() {
        let cases = [
            (json!({"key": "a", "operator": "Exists"}), "a=1:NoSchedule", true),
            (
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}),
                "a=1:NoSchedule",
                false,
            ),
            (json!({"key": "a", "value": "1"}), "a=1:NoSchedule", true),
            (json!({"key": "a", "operator": "Equal", "value": "2"}), "a=1:NoSchedule", false),
            (json!({"operator": "Exists"}), "a=1:NoExecute", true),
            (json!({"key": "b", "operator": "Exists"}), "a=1:NoExecute", false),
        ];
        for (toleration, text, expected) in cases {
            let parsed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&[parsed], &taint(text)), expected, "{toleration} {text}");
        }
    }

    #[test]
    fn hard_taints_keep_off_and_soft_ones_cost_score() {
        let node = |taints: &[&str]| NodeInfo {
            taints: taints.iter().map(|t| taint(t)).collect(),
            ..NodeInfo::default()
        };
        let tolerations: Value = json!([{"key": "ok", "operator": "Exists"}]);
        let pod = PodInfo {
            tolerations: serde_json::from_value(tolerations).unwrap(),
            ..PodInfo::default()
        };
        assert!(is_kept_off(&pod, &node(&["x=:NoSchedule"])));
        assert!(is_kept_off(&pod, &node(&["ok=:NoExecute", "x=:NoExecute"])));
        assert!(!is_kept_off(&pod, &node(&["ok=:NoSchedule", "x=:PreferNoSchedule"])));
        let nodes = [
            node(&[]),
            node(&["x=:PreferNoSchedule"]),
            node(&["x=:PreferNoSchedule", "y=:PreferNoSchedule", "ok=:PreferNoSchedule"]),
        ];
        let nodes: Vec<_> = nodes.iter().collect();
        let scores = TaintToleration.score(&pod, &Cluster::default(), &nodes);
        assert_eq!(scores, Some(vec![100, 50, 0]));
    }
}
