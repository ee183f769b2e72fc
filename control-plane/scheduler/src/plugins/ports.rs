//! NodePorts: two pods do not share a port of their node.

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection};
use crate::pod::PodInfo;

const NAME: &str = "NodePorts";

pub(super) struct NodePorts;

impl FilterPlugin for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        _cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        Ok((!pod.ports.is_empty()).then(|| Box::new(Free(pod)) as _))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        match change {
            Change::Node { before, .. } => before.is_none(),
            Change::PodGone(gone) => {
                gone.ports.iter().any(|port| pod.ports.iter().any(|own| own.conflicts(port)))
            }
            _ => false,
        }
    }
}

struct Free<'a>(&'a PodInfo);

impl<'a> NodeFilter<'a> for Free<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let taken =
            self.0.ports.iter().any(|port| node.ports.iter().any(|used| used.conflicts(port)));
        if taken {
            return Err(Rejection::resolvable(
                NAME,
                "node(s) didn't have free ports for the requested pod ports",
            ));
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(Free(self.0))
    }
}
