//! VolumeBinding: a pod goes where its volumes are, or where they can be had.

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection};
use crate::pod::PodInfo;

const NAME: &str = "VolumeBinding";

pub(super) struct VolumeBinding;

impl FilterPlugin for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        let (mut bound, mut waiting) = (Vec::new(), Vec::new());
        for name in &pod.claims {
            let Some(claim) = cluster.volumes.claim(&pod.namespace, name) else {
                return Err(Rejection::lasting(
                    NAME,
                    format!("persistentvolumeclaim {name:?} not found"),
                ));
            };
            if claim.terminating {
                return Err(Rejection::lasting(
                    NAME,
                    format!("persistentvolumeclaim {name:?} is being deleted"),
                ));
            }
            match &claim.volume {
                Some(volume) => bound.push(volume.as_str()),
                None if cluster.volumes.waits(claim) => waiting.push(name.as_str()),
                None => {
                    return Err(Rejection::lasting(
                        NAME,
                        "pod has unbound immediate PersistentVolumeClaims",
                    ));
                }
            }
        }
        Ok((!pod.claims.is_empty())
            .then(|| Box::new(Reachable { pod, cluster, bound, waiting }) as _))
    }

    fn helped_by(&self, _pod: &PodInfo, change: &Change<'_>) -> bool {
        matches!(change, Change::Volumes | Change::Node { .. })
    }
}

#[derive(Clone)]
struct Reachable<'a> {
    pod: &'a PodInfo,
    cluster: &'a Cluster,
    bound: Vec<&'a str>,
    waiting: Vec<&'a str>,
}

impl<'a> NodeFilter<'a> for Reachable<'a> {
    fn check(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let volumes = &self.cluster.volumes;
        for name in &self.bound {
            let Some(volume) = volumes.volume(name) else {
                let reason =
                    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
                return Err(Rejection::lasting(NAME, reason));
            };
            if !volume.nodes.matches(&node.name, &node.labels) {
                return Err(Rejection::lasting(
                    NAME,
                    "node(s) didn't match PersistentVolume's node affinity",
                ));
            }
        }
        let namespace = &self.pod.namespace;
        let supplied =
            |name: &&str| volumes.supply(namespace, name, &node.name, &node.labels).is_some();
        if !self.waiting.iter().all(supplied) {
            return Err(Rejection::lasting(
                NAME,
                "node(s) didn't find available persistent volumes to bind",
            ));
        }
        Ok(())
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::volumes::{Claim, Class, Supply, Volume};

    fn claim(class: &str, volume: Option<&str>) -> Claim {
        let mut object = json!({
            "metadata": {"annotations": {}},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        if let Some(volume) = volume {
            object["spec"]["volumeName"] = volume.into();
            object["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes".into();
        }
        Claim::new(&serde_json::from_value(object).unwrap())
    }

    fn volume(class: &str, size: &str, node: &str) -> Volume {
        let affinity: Value = json!({"required": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}});
        let object = json!({"spec": {"storageClassName": class, "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "nodeAffinity": affinity}});
        Volume::new(&serde_json::from_value(object).unwrap())
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        for name in ["n1", "n2"] {
            cluster.set_node(NodeInfo { name: name.into(), ..NodeInfo::default() });
        }
        let volumes = &mut cluster.volumes;
        for (name, waits, provisions) in
            [("now", false, true), ("local", true, false), ("made", true, true)]
        {
            volumes.set_class(name.into(), Some(Class { waits, provisions }));
        }
        volumes.set_volume("small".into(), Some(volume("local", "1Gi", "n1")));
        volumes.set_volume("large".into(), Some(volume("local", "2Gi", "n1")));
        volumes.set_volume("tiny".into(), Some(volume("local", "1Mi", "n2")));
        for (name, class, volume) in [
            ("bound", "now", Some("small")),
            ("lost", "now", Some("gone")),
            ("unbound", "now", None),
            ("local", "local", None),
            ("made", "made", None),
        ] {
            volumes.set_claim("a".into(), name.into(), Some(claim(class, volume)));
        }
        cluster
    }

    #[test]
    fn pods_go_where_their_volumes_are_or_can_be() {
        let affinity = "node(s) didn't match PersistentVolume's node affinity";
        let none = "node(s) didn't find available persistent volumes to bind";
        let missing = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
        let cases = [
            ("bound", Ok(["", affinity])),
            ("lost", Ok([missing, missing])),
            ("local", Ok(["", none])),
            ("made", Ok(["", ""])),
            ("unbound", Err("pod has unbound immediate PersistentVolumeClaims")),
            ("absent", Err(r#"persistentvolumeclaim "absent" not found"#)),
        ];
        let cluster = cluster();
        for (name, expected) in cases {
            let pod =
                PodInfo { namespace: "a".into(), claims: vec![name.into()], ..PodInfo::default() };
            let found = VolumeBinding
                .prepare(&pod, &cluster)
                .map_err(|rejection| rejection.reasons[0].clone());
            let found = found.map(|filter| {
                let filter = filter.unwrap();
                let reason = |node| {
                    filter.check(node).err().map_or(String::new(), |r| r.reasons[0].to_string())
                };
                cluster.nodes().iter().map(reason).collect::<Vec<_>>()
            });
            assert_eq!(
                found,
                expected.map(|all| all.map(str::to_owned).to_vec()).map_err(Into::into),
                "{name}"
            );
        }
    }

    #[test]
    fn the_smallest_volume_that_suits_is_taken() {
        let cluster = cluster();
        let supply = |claim: &str| cluster.volumes.supply("a", claim, "n1", &Default::default());
        assert_eq!(supply("local"), Some(Supply::Volume("small".into())));
        assert_eq!(supply("made"), Some(Supply::Provisioner));
    }
}
