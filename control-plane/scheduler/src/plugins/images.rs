//! ImageLocality: prefers nodes that have the pod's images, the more so the larger those are.

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{MAX_SCORE, ScorePlugin};
use crate::pod::PodInfo;

const MIB: i64 = 1024 * 1024;
/// Below this many bytes an image is quickly fetched.
const SMALL_BYTES: i64 = 23 * MIB;
/// Above this many bytes per container it makes no more difference.
const LARGE_BYTES: i64 = 1000 * MIB;

pub(super) struct ImageLocality;

impl ScorePlugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let count = i64::try_from(pod.images.len()).ok().filter(|count| *count > 0)?;
        let total = i64::try_from(cluster.nodes().len()).ok().filter(|total| *total > 0)?;
        // An image that few nodes have draws less, or its pods would all go to those.
        let spread = |name: &String, bytes: i64| {
            let having = i64::try_from(cluster.nodes_with_image(name)).unwrap_or_default();
            bytes / total * having
        };
        let largest = LARGE_BYTES * count;
        let score = |node: &&NodeInfo| {
            let there =
                pod.images.iter().filter_map(|name| Some(spread(name, *node.images.get(name)?)));
            let bytes = there.sum::<i64>().clamp(SMALL_BYTES, largest);
            MAX_SCORE * (bytes - SMALL_BYTES) / (largest - SMALL_BYTES)
        };
        Some(nodes.iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_large_images_is_preferred() {
        let node = |name: &str, bytes: i64| NodeInfo {
            name: name.into(),
            images: [("web:latest".to_owned(), bytes)].into(),
            ..NodeInfo::default()
        };
        let mut cluster = Cluster::default();
        for (name, bytes) in
            [("none", 0), ("small", 10 * MIB), ("half", 512 * MIB), ("huge", 4000 * MIB)]
        {
            cluster.set_node(node(name, bytes));
        }
        let pod = PodInfo { images: vec!["web:latest".into()], ..PodInfo::default() };
        let nodes: Vec<_> = cluster.nodes().iter().collect();
        assert_eq!(ImageLocality.score(&pod, &cluster, &nodes), Some(vec![0, 0, 50, 100]));
    }
}
