//! VolumeZone: a pod goes to the zone that a label of its volume names.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection};
use crate::pod::PodInfo;

const NAME: &str = "VolumeZone";
/// The labels that say where a volume is, each with the node label of the same meaning.
const LABELS: [(&str, &str); 4] = [
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
];

pub(super) struct VolumeZone;

impl FilterPlugin for VolumeZone {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        let mut places = Vec::new();
        for name in &pod.claims {
            let claim = cluster.volumes.claim(&pod.namespace, name);
            let Some(volume) =
                claim.and_then(|claim| cluster.volumes.volume(claim.volume.as_ref()?))
            else {
                continue;
            };
            places.extend(LABELS.iter().filter_map(|(label, same)| {
                // Several zones are written as one value: a__b.
                let zones = volume.labels().get(*label)?.split("__").map(str::to_owned).collect();
                Some(Place { label, same, zones })
            }));
        }
        Ok((!places.is_empty()).then(|| Box::new(Zoned(places)) as _))
    }

    fn helped_by(&self, _pod: &PodInfo, change: &Change<'_>) -> bool {
        matches!(change, Change::Volumes | Change::Node { .. })
    }
}

#[derive(Clone)]
struct Place {
    label: &'static str,
    same: &'static str,
    zones: BTreeSet<String>,
}

#[derive(Clone)]
struct Zoned(Vec<Place>);

impl<'a> NodeFilter<'a> for Zoned {
    /// A node that says nothing of zones is in the only one there is.
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let silent = LABELS.iter().all(|(label, _)| node.domain(label).is_none());
        let there = |place: &Place| {
            let zone = node.domain(place.label).or_else(|| node.domain(place.same));
            zone.is_some_and(|zone| place.zones.contains(zone))
        };
        if silent || self.0.iter().all(there) {
            return Ok(());
        }
        Err(Rejection::lasting(NAME, "node(s) had no available volume zone"))
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::volumes::{Claim, Volume};

    #[test]
    fn only_nodes_in_the_volumes_zones_will_do() {
        let mut cluster = Cluster::default();
        let bound = json!({
            "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "v"},
        });
        let volume =
            json!({"metadata": {"labels": {"failure-domain.beta.kubernetes.io/zone": "a__b"}}});
        cluster.volumes.set_claim(
            "x".into(),
            "c".into(),
            Some(Claim::new(&serde_json::from_value(bound).unwrap())),
        );
        cluster
            .volumes
            .set_volume("v".into(), Some(Volume::new(&serde_json::from_value(volume).unwrap())));
        let pod = PodInfo { namespace: "x".into(), claims: vec!["c".into()], ..PodInfo::default() };
        let filter = VolumeZone.prepare(&pod, &cluster).unwrap().unwrap();
        for (zone, fits) in [(Some("a"), true), (Some("b"), true), (Some("c"), false), (None, true)]
        {
            let mut node = NodeInfo::default();
            node.labels.extend(
                zone.map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.to_owned())),
            );
            assert_eq!(filter.check(&node).is_ok(), fits, "{zone:?}");
        }
        assert!(VolumeZone.prepare(&PodInfo::default(), &cluster).unwrap().is_none());
    }
}
