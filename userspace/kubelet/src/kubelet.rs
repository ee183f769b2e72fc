//! What every pod's worker and every request shares.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;
use kube::runtime::reflector::Store;
use skep_cri::Runtime;

use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::dns;
use crate::events::Recorder;
use crate::eviction::Pressure;
use crate::identity::PodId;
use crate::images::Images;
use crate::machine::Machine;
use crate::objects::Objects;
use crate::qos::Class;
use crate::spec::sandbox::NodeSide;
use crate::tokens::Tokens;
use crate::volume::PodFolder;
use crate::volume::setup::Sources;

/// One node's kubelet.
pub(crate) struct Kubelet {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
    pub(crate) runtime_name: String,
    pub(crate) machine: Machine,
    pub(crate) cgroups: Cgroups,
    pub(crate) objects: Objects,
    pub(crate) tokens: Tokens,
    pub(crate) images: Images,
    pub(crate) events: Recorder,
    pub(crate) services: Store<Service>,
    /// What the node is short of, as last seen.
    pub(crate) pressure: parking_lot::RwLock<Pressure>,
}

impl Kubelet {
    /// The pod's folder on this node.
    pub(crate) fn folder(&self, id: &PodId) -> PodFolder {
        PodFolder::new(&self.config.root, &id.uid)
    }

    /// Where volumes get their content.
    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources {
            client: &self.client,
            objects: &self.objects,
            tokens: &self.tokens,
            node_name: &self.config.node_name,
            node: self.machine.amounts(),
        }
    }

    /// What the node adds to a pod's sandbox.
    pub(crate) async fn node_side(&self, pod: &Pod, id: &PodId) -> NodeSide {
        let of_node = tokio::fs::read_to_string(&self.config.resolv_conf).await.unwrap_or_default();
        let (servers, domain) = (&self.config.cluster_dns, &self.config.cluster_domain);
        NodeSide {
            log_directory: self.config.pod_logs.join(id.log_folder()).display().to_string(),
            cgroup_parent: self.cgroups.pod(&id.uid, Class::of(pod)),
            dns: dns::config(pod, servers, domain, &of_node),
            memory_capacity: self.machine.memory_bytes,
            cluster_domain: self.config.cluster_domain.clone(),
        }
    }

    /// Services whose addresses a pod finds in its environment.
    pub(crate) fn services_for(&self, namespace: &str) -> Vec<Service> {
        let state = self.services.state();
        let wanted = state.iter().filter(|service| {
            let of = service.metadata.namespace.as_deref().unwrap_or_default();
            of == namespace
                || of == "default" && service.metadata.name.as_deref() == Some("kubernetes")
        });
        wanted.map(Arc::as_ref).cloned().collect()
    }
}
