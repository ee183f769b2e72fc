//! Gives every node its own range of pod addresses out of the cluster's.

mod ranges;

use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::api::Patch;
use parking_lot::Mutex;
use serde_json::json;

use crate::Error;
use crate::runtime::{Context, Event, Informer, Key, Next, Objects, Queue, Reconcile, Recorder};

pub(crate) use ranges::RangesError;
use ranges::{Ranges, node_ranges};

/// The controller's name.
pub(crate) const NAME: &str = "node-ipam-controller";

/// One cluster range and how large a node's part of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterRange {
    /// The addresses of all pods, of one family.
    pub(crate) net: IpNet,
    /// The prefix length of a node's part.
    pub(crate) node_prefix: u8,
}

struct NodeIpam {
    nodes: Arc<Informer<Node>>,
    objects: Objects,
    recorder: Recorder,
    ranges: Mutex<Vec<Ranges>>,
}

/// Sets up the controller, for one range or one of each family.
pub(crate) fn set_up(
    context: &mut Context,
    objects: Objects,
    cluster: &[ClusterRange],
) -> Result<(), RangesError> {
    let ranges = cluster.iter().map(|range| Ranges::new(range.net, range.node_prefix));
    let ranges = Mutex::new(ranges.collect::<Result<Vec<_>, _>>()?);
    let mut controller = context.controller(NAME, objects);
    let nodes = controller.informer::<Node>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        nodes.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    let (objects, recorder) = (controller.objects(), controller.recorder());
    // One worker: the order of the nodes' arrival is the order of their ranges.
    controller.run(queue, 1, NodeIpam { nodes, objects, recorder, ranges });
    Ok(())
}

impl Reconcile for NodeIpam {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.cache().get(key) else {
            self.ranges.lock().iter_mut().for_each(|ranges| ranges.release(&key.name));
            return Ok(Next::Change);
        };
        let taken = node_ranges(&node);
        if !taken.is_empty() {
            let mut all = self.ranges.lock();
            taken.iter().for_each(|net| all.iter_mut().for_each(|r| r.occupy(&key.name, *net)));
            return Ok(Next::Change);
        }
        self.occupy_known();
        let given: Option<Vec<IpNet>> =
            self.ranges.lock().iter_mut().map(|ranges| ranges.allocate(&key.name)).collect();
        let Some(given) = given else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.record(&*node, Event::normal("CIDRNotAvailable", message));
            return Err(Error::Later(format!("no pod range is left for node {}", key.name)));
        };
        let given: Vec<String> = given.iter().map(IpNet::to_string).collect();
        let patch = json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": given.first(), "podCIDRs": given},
        });
        self.objects.patch::<Node, _>(key, "", &Patch::Merge(patch)).await?;
        Ok(Next::Change)
    }
}

impl NodeIpam {
    /// Marks what all known nodes have, so that nothing is given twice after a restart.
    fn occupy_known(&self) {
        let mut all = self.ranges.lock();
        for node in self.nodes.cache().all() {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            for net in node_ranges(&node) {
                all.iter_mut().for_each(|ranges| ranges.occupy(name, net));
            }
        }
    }
}
