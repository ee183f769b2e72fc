//! VolumeRestrictions: a claim for one pod alone is mounted by one pod alone.

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugin::{Change, FilterPlugin, NodeFilter, Rejection};
use crate::pod::PodInfo;

const NAME: &str = "VolumeRestrictions";
const IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

pub(super) struct VolumeRestrictions;

/// The pod's claims that only one pod may use.
fn exclusive<'a>(pod: &'a PodInfo, cluster: &Cluster) -> Vec<&'a str> {
    let exclusive = |name: &&String| {
        cluster.volumes.claim(&pod.namespace, name).is_some_and(crate::volumes::Claim::is_exclusive)
    };
    pod.claims.iter().filter(exclusive).map(String::as_str).collect()
}

/// How often the pod's exclusive claims are mounted by another.
fn uses(claims: &[&str], pod: &PodInfo, other: &PodInfo) -> i64 {
    if other.namespace != pod.namespace {
        return 0;
    }
    let shared = other.claims.iter().filter(|name| claims.contains(&name.as_str()));
    i64::try_from(shared.count()).unwrap_or(i64::MAX)
}

impl FilterPlugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        cluster: &'a Cluster,
    ) -> Result<Option<Box<dyn NodeFilter<'a> + 'a>>, Rejection> {
        let claims = exclusive(pod, cluster);
        if claims.is_empty() {
            return Ok(None);
        }
        let others = cluster.nodes().iter().flat_map(|node| &node.pods);
        let users = others.map(|other| uses(&claims, pod, other)).sum();
        Ok(Some(Box::new(Exclusive { pod, claims, users })))
    }

    fn helped_by(&self, pod: &PodInfo, change: &Change<'_>) -> bool {
        match change {
            Change::Volumes => true,
            Change::PodGone(gone) => {
                gone.namespace == pod.namespace
                    && gone.claims.iter().any(|name| pod.claims.contains(name))
            }
            _ => false,
        }
    }
}

#[derive(Clone)]
struct Exclusive<'a> {
    pod: &'a PodInfo,
    claims: Vec<&'a str>,
    users: i64,
}

impl<'a> NodeFilter<'a> for Exclusive<'a> {
    fn check(&self, _node: &NodeInfo) -> Result<(), Rejection> {
        if self.users > 0 { Err(Rejection::resolvable(NAME, IN_USE)) } else { Ok(()) }
    }

    fn update(&mut self, other: &PodInfo, _node: &NodeInfo, count: i64) {
        self.users += count * uses(&self.claims, self.pod, other);
    }

    fn copy(&self) -> Box<dyn NodeFilter<'a> + 'a> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::volumes::Claim;

    fn pod(uid: &str, namespace: &str) -> PodInfo {
        PodInfo {
            uid: uid.into(),
            namespace: namespace.into(),
            claims: vec!["data".into()],
            ..PodInfo::default()
        }
    }

    fn cluster(mode: &str, namespace_of_user: &str) -> Cluster {
        let mut cluster = Cluster::default();
        cluster.set_node(NodeInfo { name: "n1".into(), ..NodeInfo::default() });
        let claim =
            Claim::new(&serde_json::from_value(json!({"spec": {"accessModes": [mode]}})).unwrap());
        cluster.volumes.set_claim("a".into(), "data".into(), Some(claim));
        cluster.assume(Arc::new(pod("user", namespace_of_user)), "n1");
        cluster
    }

    #[test]
    fn a_second_pod_waits_for_the_first_to_go() {
        let new = pod("new", "a");
        let cluster_used = cluster("ReadWriteOncePod", "a");
        let mut filter = VolumeRestrictions.prepare(&new, &cluster_used).unwrap().unwrap();
        let node = &cluster_used.nodes()[0];
        assert_eq!(filter.check(node), Err(Rejection::resolvable(NAME, IN_USE)));
        filter.update(&node.pods[0], node, -1);
        assert_eq!(filter.check(node), Ok(()));

        let elsewhere = cluster("ReadWriteOncePod", "b");
        let filter = VolumeRestrictions.prepare(&new, &elsewhere).unwrap().unwrap();
        assert_eq!(filter.check(&elsewhere.nodes()[0]), Ok(()));
        assert!(
            VolumeRestrictions.prepare(&new, &cluster("ReadWriteOnce", "a")).unwrap().is_none()
        );
    }
}
