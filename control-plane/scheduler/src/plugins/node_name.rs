//! NodeName: a pod that names its node goes there and nowhere else.

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection};
use crate::pod::PodInfo;

const NAME: &str = "NodeName";

pub(super) struct NodeName;

impl FilterPlugin for NodeName {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        _cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        Ok(pod.node.as_deref().map(|name| Box::new(Named(name)) as _))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        matches!(change, Change::Node { now, before: None } if pod.node.as_ref() == Some(&now.name))
    }
}

struct Named<'a>(&'a str);

impl<'a> NodeFilter<'a> for Named<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if node.name == self.0 {
            return Ok(());
        }
        Err(Rejection::lasting(NAME, "node(s) didn't match the requested node name"))
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(Named(self.0))
    }
}
