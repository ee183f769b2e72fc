//! The controllers by name, and which of them `--controllers` asks for.

use std::collections::BTreeSet;

use crate::certificates::{approve, clean, sign};
use crate::{
    bootstrap_token, cluster_role, cron_job, daemon_set, deployment, disruption, endpoint_slice,
    endpoints, garbage, job, job_ttl, namespace, node_ipam, node_lifecycle, pod_gc, replica_set,
    root_ca, service_account, stateful_set, taint_eviction,
};

/// Every controller there is. All of them are on by default.
pub(crate) const ALL: &[&str] = &[
    approve::NAME,
    bootstrap_token::NAME,
    clean::NAME,
    cluster_role::NAME,
    cron_job::NAME,
    daemon_set::NAME,
    deployment::NAME,
    disruption::NAME,
    endpoint_slice::NAME,
    endpoints::NAME,
    garbage::NAME,
    job::NAME,
    job_ttl::NAME,
    namespace::NAME,
    node_ipam::NAME,
    node_lifecycle::NAME,
    pod_gc::NAME,
    replica_set::NAME,
    replica_set::REPLICATION_NAME,
    root_ca::NAME,
    service_account::NAME,
    sign::NAME,
    stateful_set::NAME,
    taint_eviction::NAME,
];

/// kube-controller-manager's controllers that are not here. Naming them is no mistake: manifests
/// written for it turn some of them on or off.
const ELSEWHERE: &[&str] = &[
    "bootstrap-signer-controller",
    "cloud-node-controller",
    "cloud-node-lifecycle-controller",
    "device-taint-eviction-controller",
    "endpointslice-mirroring-controller",
    "ephemeral-volume-controller",
    "horizontal-pod-autoscaler-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "podcertificaterequest-cleaner-controller",
    "podgroup-protection-controller",
    "resourceclaim-controller",
    "resourcepoolstatusrequest-controller",
    "resourcequota-controller",
    "selinux-warning-controller",
    "service-cidr-controller",
    "service-lb-controller",
    "serviceaccount-token-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

/// What the list asks for: `*`, `NAME`, `-NAME`. A name that means nothing is an error.
pub(crate) fn chosen(asked: &[String]) -> Result<BTreeSet<&'static str>, String> {
    let known = |name: &str| ALL.iter().find(|known| **known == name).copied();
    let mut chosen = BTreeSet::new();
    if asked.iter().any(|asked| asked == "*") {
        chosen.extend(ALL);
    }
    for asked in asked.iter().filter(|asked| *asked != "*") {
        let name = asked.strip_prefix('-').unwrap_or(asked);
        match known(name) {
            Some(name) if asked.starts_with('-') => drop(chosen.remove(name)),
            Some(name) => drop(chosen.insert(name)),
            None if ELSEWHERE.contains(&name) => {}
            None => return Err(name.into()),
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_adds_and_takes_away() {
        let choose = |list: &str| {
            chosen(&list.split(',').map(str::to_owned).collect::<Vec<_>>()).map(|set| set.len())
        };
        assert_eq!(choose("*"), Ok(ALL.len()));
        assert_eq!(choose("*,-deployment-controller"), Ok(ALL.len() - 1));
        assert_eq!(choose("deployment-controller"), Ok(1));
        assert_eq!(choose("*,bootstrap-signer-controller"), Ok(ALL.len()));
        assert_eq!(choose("*,-depolyment-controller"), Err("depolyment-controller".into()));
    }
}
