//! A Service as the proxy sees it: parsed once, small, without what no packet depends on.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use clap::ValueEnum;
use ipnet::IpNet;

use crate::config::ForwardingMode;
use crate::endpoint::Names;
use crate::frontend::Protocol;
use crate::objects::{self, Object};

/// Seconds of ClientIP affinity when the object names none (the API's default).
const DEFAULT_AFFINITY_S: u32 = 10_800;

/// Marks a Service that another proxy serves.
pub const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// By which a Service chooses its forwarding mode: `snat` or `dsr`.
pub const FORWARDING_ANNOTATION: &str = "skep.dev/forwarding-mode";

/// Namespace and name of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceName {
    /// A name from its two parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which endpoints may serve a kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrafficPolicy {
    /// Any endpoint of the cluster.
    #[default]
    Cluster,
    /// Only endpoints on the node where the packet arrived.
    Local,
}

impl TrafficPolicy {
    fn parse(text: &str) -> Self {
        if text == "Local" { Self::Local } else { Self::Cluster }
    }
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; EndpointSlices refer to it. Empty for a lone unnamed port.
    pub name: Arc<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port on every address but the node's.
    pub port: u16,
    /// The port on the node's addresses.
    pub node_port: Option<u16>,
}

/// A Service that has addresses to translate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxiedService {
    /// The object's uid.
    pub uid: Box<str>,
    /// The addresses inside the cluster.
    pub cluster_ips: Box<[IpAddr]>,
    /// Addresses that somebody else routes to the nodes.
    pub external_ips: Box<[IpAddr]>,
    /// Addresses of the load balancer that reach the node unchanged.
    pub load_balancer_ips: Box<[IpAddr]>,
    /// Who may use the load balancer's addresses; empty means everybody.
    pub source_ranges: Box<[IpNet]>,
    /// The ports.
    pub ports: Box<[ServicePort]>,
    /// For traffic to the cluster addresses.
    pub internal_policy: TrafficPolicy,
    /// For traffic from outside to every other address.
    pub external_policy: TrafficPolicy,
    /// Seconds for which a client stays with its backend.
    pub affinity_s: Option<NonZeroU32>,
    /// How packets from outside get back, if the Service says so itself.
    pub forwarding: Option<ForwardingMode>,
    /// Where a load balancer asks whether this node has endpoints.
    pub health_check_node_port: Option<u16>,
}

impl ProxiedService {
    /// Parses an object. `None`: nothing to translate (headless, ExternalName, no address yet, or
    /// left to another proxy by label).
    /// `names` keeps one copy of each port's name.
    pub fn parse(object: &objects::Service, names: &mut Names) -> Option<Self> {
        if object.meta().labels.contains_key(PROXY_NAME_LABEL) {
            return None;
        }
        let spec = object.spec.as_ref()?;
        if spec.kind == "ExternalName" {
            return None;
        }
        let cluster_ips = cluster_ips(spec);
        if cluster_ips.is_empty() {
            return None;
        }
        let external_policy = TrafficPolicy::parse(&spec.external_traffic_policy);
        let with_load_balancer = spec.kind == "LoadBalancer";
        Some(Self {
            uid: object.meta().uid.as_str().into(),
            cluster_ips,
            external_ips: addresses(&spec.external_ips),
            load_balancer_ips: if with_load_balancer {
                load_balancer_ips(object.status.as_ref())
            } else {
                Box::default()
            },
            source_ranges: source_ranges(spec),
            ports: spec.ports.iter().filter_map(|spec| port(spec, names)).collect(),
            internal_policy: TrafficPolicy::parse(&spec.internal_traffic_policy),
            external_policy,
            affinity_s: affinity(spec),
            forwarding: forwarding(object),
            health_check_node_port: number(spec.health_check_node_port)
                .filter(|_| external_policy == TrafficPolicy::Local),
        })
    }

    /// Whether traffic from outside can reach the Service at all.
    pub fn is_external(&self) -> bool {
        !self.external_ips.is_empty()
            || !self.load_balancer_ips.is_empty()
            || self.ports.iter().any(|port| port.node_port.is_some())
    }
}

fn cluster_ips(spec: &objects::ServiceSpec) -> Box<[IpAddr]> {
    if spec.cluster_ips.is_empty() {
        spec.cluster_ip.parse().into_iter().collect()
    } else {
        addresses(&spec.cluster_ips)
    }
}

/// "None" of a headless Service is no address, and so are not yet allotted ones.
fn addresses(texts: &[String]) -> Box<[IpAddr]> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn load_balancer_ips(status: Option<&objects::ServiceStatus>) -> Box<[IpAddr]> {
    status
        .and_then(|status| status.load_balancer.as_ref())
        .into_iter()
        .flat_map(|balancer| &balancer.ingress)
        // A balancer in proxy mode terminates connections: its address must stay reachable.
        .filter(|ingress| ingress.ip_mode != "Proxy")
        .filter_map(|ingress| ingress.ip.parse().ok())
        .collect()
}

fn source_ranges(spec: &objects::ServiceSpec) -> Box<[IpNet]> {
    let texts = spec.load_balancer_source_ranges.iter();
    texts.filter_map(|text| text.trim().parse().ok()).collect()
}

fn affinity(spec: &objects::ServiceSpec) -> Option<NonZeroU32> {
    if spec.session_affinity != "ClientIP" {
        return None;
    }
    let configured = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds)
        .and_then(|seconds| u32::try_from(seconds).ok());
    NonZeroU32::new(configured.unwrap_or(DEFAULT_AFFINITY_S))
}

fn forwarding(object: &objects::Service) -> Option<ForwardingMode> {
    let text = object.meta().annotations.get(FORWARDING_ANNOTATION)?;
    ForwardingMode::from_str(text, true).ok()
}

fn port(port: &objects::ServicePort, names: &mut Names) -> Option<ServicePort> {
    Some(ServicePort {
        name: names.keep(&port.name),
        protocol: Protocol::parse(&port.protocol)?,
        port: number(port.port)?,
        node_port: number(port.node_port),
    })
}

/// A port's number; 0 is none.
fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spec: &serde_json::Value) -> Option<ProxiedService> {
        let object = serde_json::json!({ "metadata": { "name": "web" }, "spec": spec });
        ProxiedService::parse(&objects::from_json("v1", "Service", &object), &mut Names::default())
    }

    #[test]
    fn services_without_an_address_are_not_proxied() {
        for spec in [
            serde_json::json!({ "clusterIP": "None", "clusterIPs": ["None"] }),
            serde_json::json!({ "type": "ExternalName", "externalName": "example.org" }),
            serde_json::json!({ "clusterIP": "" }),
            serde_json::json!({}),
        ] {
            assert_eq!(parse(&spec), None, "{spec}");
        }
    }

    #[test]
    fn a_service_of_another_proxy_is_left_alone() {
        let object = serde_json::json!({
            "metadata": { "name": "web", "labels": { PROXY_NAME_LABEL: "other" } },
            "spec": { "clusterIP": "10.96.0.7" },
        });
        let object = objects::from_json("v1", "Service", &object);
        assert_eq!(ProxiedService::parse(&object, &mut Names::default()), None);
    }

    #[test]
    fn affinity_lasts_three_hours_unless_told() {
        let with = |config| {
            parse(&serde_json::json!({
                "clusterIP": "10.96.0.7",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": config,
            }))
            .and_then(|service| service.affinity_s)
            .map(NonZeroU32::get)
        };
        assert_eq!(with(serde_json::json!(null)), Some(10_800));
        assert_eq!(with(serde_json::json!({ "clientIP": { "timeoutSeconds": 5 } })), Some(5));
    }

    #[test]
    fn a_balancer_in_proxy_mode_keeps_its_address() {
        let object = serde_json::json!({
            "spec": { "type": "LoadBalancer", "clusterIP": "10.96.0.7" },
            "status": { "loadBalancer": { "ingress": [
                { "ip": "192.0.2.1" }, { "ip": "192.0.2.2", "ipMode": "Proxy" },
                { "hostname": "lb.example.org" },
            ] } },
        });
        let object = objects::from_json("v1", "Service", &object);
        let service = ProxiedService::parse(&object, &mut Names::default()).expect("proxied");
        assert_eq!(*service.load_balancer_ips, ["192.0.2.1".parse::<IpAddr>().expect("address")]);
    }
}
