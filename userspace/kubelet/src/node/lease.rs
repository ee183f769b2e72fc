//! The node's lease: the proof of life that the node controller watches.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::PostParams;

use crate::kubelet::Kubelet;

const NAMESPACE: &str = "kube-node-lease";
const DURATION_SECONDS: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// Renews for ever.
pub(super) async fn run(kubelet: &Kubelet, node: &Node) {
    let mut last = None;
    loop {
        let pause = match renew(kubelet, node, last.take()).await {
            Ok(lease) => {
                last = Some(lease);
                RENEW
            }
            Err(error) => {
                tracing::warn!(%error, "cannot renew the node's lease");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn renew(kubelet: &Kubelet, node: &Node, last: Option<Lease>) -> kube::Result<Lease> {
    let leases: Api<Lease> = Api::namespaced(kubelet.client.clone(), NAMESPACE);
    let name = &kubelet.config.node_name;
    let last = match last {
        Some(lease) => Some(lease),
        None => leases.get_opt(name).await?,
    };
    let spec = LeaseSpec {
        holder_identity: Some(name.clone()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    match last {
        Some(mut lease) => {
            lease.spec = Some(spec);
            leases.replace(name, &PostParams::default(), &lease).await
        }
        None => {
            let owner = OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: name.clone(),
                uid: node.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            };
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(NAMESPACE.into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            };
            let lease = Lease { metadata, spec: Some(spec) };
            leases.create(&PostParams::default(), &lease).await
        }
    }
}
