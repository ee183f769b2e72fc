//! NodeUnschedulable: nothing new comes to a cordoned node, except what tolerates that.

use k8s_openapi::api::core::v1::Taint;

use super::taints::tolerates;
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection};
use crate::pod::PodInfo;

const NAME: &str = "NodeUnschedulable";

pub(super) struct NodeUnschedulable;

impl FilterPlugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        _cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let tolerated = tolerates(&pod.tolerations, &taint);
        Ok((!tolerated).then(|| Box::new(Schedulable) as _))
    }

    fn helped_by(&self, _pod: &PodInfo, change: &Change<'_>) -> bool {
        matches!(change, Change::Node { now, .. } if !now.unschedulable)
    }
}

struct Schedulable;

impl<'a> NodeFilter<'a> for Schedulable {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if node.unschedulable {
            return Err(Rejection::lasting(NAME, "node(s) were unschedulable"));
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(Schedulable)
    }
}
