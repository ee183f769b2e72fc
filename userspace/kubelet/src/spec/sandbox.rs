//! The configuration of a pod's sandbox: host name, DNS, namespaces, ports, control group.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use skep_cri::v1::{
    DnsConfig, Int64Value, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PortMapping, Protocol,
};

use super::security;
use crate::identity::{self, PodId};
use crate::qos::Class;
use crate::resources::Amounts;

/// What the node adds to a pod's own wishes.
#[derive(Clone, Debug)]
pub(crate) struct NodeSide {
    pub(crate) log_directory: String,
    pub(crate) cgroup_parent: String,
    pub(crate) dns: DnsConfig,
    pub(crate) memory_capacity: i64,
    pub(crate) cluster_domain: String,
}

/// The sandbox of `pod`, for this attempt.
pub(crate) fn config(pod: &Pod, id: &PodId, attempt: u32, node: &NodeSide) -> PodSandboxConfig {
    let spec = pod.spec.clone().unwrap_or_default();
    let context = spec.security_context.clone().unwrap_or_default();
    let privileged =
        spec.init_containers.iter().flatten().chain(&spec.containers).any(security::is_privileged);
    let mut groups = context.supplemental_groups.unwrap_or_default();
    groups.extend(context.fs_group);
    let sysctls: HashMap<String, String> =
        context.sysctls.into_iter().flatten().map(|sysctl| (sysctl.name, sysctl.value)).collect();
    let resources = Amounts::of_pod(pod).to_cri(Class::of(pod), node.memory_capacity);
    let annotations = pod.metadata.annotations.clone().unwrap_or_default();
    PodSandboxConfig {
        metadata: Some(id.metadata(attempt)),
        hostname: match identity::is_host_network(pod) {
            true => String::new(),
            false => kernel_name(pod, &node.cluster_domain),
        },
        log_directory: node.log_directory.clone(),
        dns_config: Some(node.dns.clone()),
        port_mappings: ports(pod),
        labels: id.labels(pod.metadata.labels.as_ref()),
        annotations: annotations.into_iter().collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: node.cgroup_parent.clone(),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(pod)),
                run_as_user: context.run_as_user.map(|value| Int64Value { value }),
                run_as_group: context
                    .run_as_group
                    .filter(|_| context.run_as_user.is_some())
                    .map(|value| Int64Value { value }),
                supplemental_groups: groups,
                privileged,
                seccomp: Some(security::seccomp(context.seccomp_profile.as_ref())),
                ..Default::default()
            }),
            sysctls,
            resources: Some(resources),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Which namespaces are the node's, which the pod's, which a container's own.
pub(crate) fn namespaces(pod: &Pod) -> NamespaceOption {
    let spec = pod.spec.as_ref();
    let mode = |on_node: Option<bool>, otherwise| match on_node {
        Some(true) => NamespaceMode::Node,
        _ => otherwise,
    };
    let shared = match spec.and_then(|spec| spec.share_process_namespace) {
        Some(true) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: mode(spec.and_then(|spec| spec.host_network), NamespaceMode::Pod).into(),
        pid: mode(spec.and_then(|spec| spec.host_pid), shared).into(),
        ipc: mode(spec.and_then(|spec| spec.host_ipc), NamespaceMode::Pod).into(),
        ..Default::default()
    }
}

/// The pod's host name: what it asks for, or its own name, cut to what a kernel takes.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|spec| spec.hostname_override.clone()) {
        return name;
    }
    let asked = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let name = asked.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// What the kernel calls the pod: its host name, or its whole domain name where it asks for that.
fn kernel_name(pod: &Pod, cluster_domain: &str) -> String {
    let whole = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    let domain = domain_name(pod, cluster_domain).filter(|_| whole);
    domain.unwrap_or_else(|| hostname(pod))
}

/// The pod's name in the cluster's DNS, if it has a subdomain.
pub(crate) fn domain_name(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref()?;
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}

fn ports(pod: &Pod) -> Vec<PortMapping> {
    if identity::is_host_network(pod) {
        return Vec::new();
    }
    let containers = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter(|port| port.host_port.is_some_and(|port| port > 0))
        .map(|port| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &serde_json::Value) -> Pod {
        let meta = json!({"name": "web-0", "namespace": "shop"});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    #[test]
    fn names() {
        for (case, spec, name, domain) in [
            ("its own", json!({"containers": []}), "web-0", None),
            (
                "asked for",
                json!({"containers": [], "hostname": "a", "subdomain": "db"}),
                "a",
                Some("a.db.shop.svc.cluster.local"),
            ),
        ] {
            let pod = pod(&spec);
            assert_eq!(hostname(&pod), name, "{case}");
            assert_eq!(domain_name(&pod, "cluster.local").as_deref(), domain, "{case}");
        }
    }

    #[test]
    fn namespaces_follow_the_pod() {
        let own = namespaces(&pod(&json!({"containers": []})));
        assert_eq!(own.network(), NamespaceMode::Pod);
        assert_eq!(own.pid(), NamespaceMode::Container);
        let shared = namespaces(&pod(
            &json!({"containers": [], "hostNetwork": true, "shareProcessNamespace": true}),
        ));
        assert_eq!(shared.network(), NamespaceMode::Node);
        assert_eq!(shared.pid(), NamespaceMode::Pod);
    }
}
