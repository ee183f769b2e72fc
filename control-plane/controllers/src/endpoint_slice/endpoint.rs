//! One pod as an endpoint of a service: its addresses, its state, its ports.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pod::{is_ready, is_terminal, is_terminating, node_name};

/// An address family, as slices name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// `IPv4` or `IPv6`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The families a service has addresses of.
pub(crate) fn families(service: &Service) -> Vec<Family> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let named = spec
        .ip_families
        .iter()
        .flatten()
        .map(|family| if family == "IPv6" { Family::V6 } else { Family::V4 });
    let mut families: Vec<Family> = named.collect();
    if families.is_empty() {
        let address = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
        families = match address {
            Some(address) => vec![Family::of(address)],
            None => vec![Family::V4, Family::V6],
        };
    }
    families.sort_unstable();
    families.dedup();
    families
}

/// Pods are listed in whatever state they are.
pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// It has an address and has not ended.
pub(crate) fn may_serve(pod: &Pod) -> bool {
    !is_terminal(pod) && addresses(pod).next().is_some()
}

fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.iter();
    let listed = status.clone().flat_map(|status| status.pod_ips.iter().flatten());
    let first = status.filter(|status| status.pod_ips.as_ref().is_none_or(Vec::is_empty));
    let first = first.filter_map(|status| status.pod_ip.as_ref());
    listed.map(|ip| &ip.ip).chain(first).filter_map(|ip| ip.parse().ok())
}

/// The pod's address of a family.
pub(crate) fn address(pod: &Pod, family: Family) -> Option<IpAddr> {
    addresses(pod).find(|address| Family::of(*address) == family)
}

/// True when a service could see the pod differently after the change.
pub(crate) fn differs(old: &Pod, new: &Pod) -> bool {
    let seen = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        (
            is_ready(pod),
            is_terminating(pod),
            is_terminal(pod),
            addresses(pod).collect::<Vec<_>>(),
            node_name(pod).to_owned(),
            spec.and_then(|spec| spec.hostname.clone()),
            spec.and_then(|spec| spec.subdomain.clone()),
            pod.metadata.uid.clone(),
        )
    };
    old.metadata.labels != new.metadata.labels || seen(old) != seen(new)
}

/// The zone a node is in.
pub(crate) fn zone(node: &Node) -> Option<&str> {
    let zone = node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone")?;
    Some(zone.as_str()).filter(|zone| !zone.is_empty())
}

/// The pod's own name in DNS, where the service is the domain it names.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let here = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|name| here && !name.is_empty())
}

/// A reference to the pod.
pub(crate) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The pod as an endpoint, if it has an address of this family.
pub(super) fn endpoint(
    service: &Service,
    pod: &Pod,
    node: Option<&Node>,
    family: Family,
) -> Option<Endpoint> {
    let address = address(pod, family)?;
    let (serving, terminating) = (is_ready(pod), is_terminating(pod));
    let ready = publishes_not_ready(service) || (serving && !terminating);
    let node_name = Some(node_name(pod)).filter(|name| !name.is_empty()).map(str::to_owned);
    let zone = node.and_then(zone).map(str::to_owned);
    let hints = if ready { hints(service, node_name.as_deref(), zone.as_deref()) } else { None };
    Some(Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        target_ref: Some(target(pod)),
        node_name,
        zone,
        hints,
        ..Endpoint::default()
    })
}

/// Who should prefer this endpoint, by the service's wish for the distribution of traffic.
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let wish = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let by_node = match wish {
        "PreferSameNode" => true,
        "PreferClose" | "PreferSameZone" => false,
        _ => return None,
    };
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.into() }]);
    let for_nodes = node.filter(|_| by_node).map(|node| vec![ForNode { name: node.into() }]);
    (for_zones.is_some() || for_nodes.is_some()).then_some(EndpointHints { for_nodes, for_zones })
}

/// The ports of the service on this pod. A named port the pod does not have is left out.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let resolve = |port: &ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(find_port(pod, port)?),
            protocol: Some(protocol(port).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.filter_map(resolve).collect()
}

/// The protocol of a service port.
pub(crate) fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The number a service port has on this pod.
pub(crate) fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars =
        sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    { ports }
        .find(|candidate| {
            candidate.name.as_ref() == Some(name)
                && candidate.protocol.as_deref().unwrap_or("TCP") == protocol(port)
        })
        .map(|candidate| candidate.container_port)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(detail: &Value) -> Service {
        let mut service = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "web"}},
        });
        json_patch::merge(&mut service, detail);
        serde_json::from_value(service).unwrap()
    }

    fn pod(detail: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [
                {"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00::5"}],
                "conditions": [{"type": "Ready", "status": "True"}]},
        });
        json_patch::merge(&mut pod, detail);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn readiness_and_deletion_show_in_the_conditions() {
        let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let publishing = json!({"spec": {"publishNotReadyAddresses": true}});
        // (service, pod) -> (ready, serving, terminating)
        let cases = [
            ((json!({}), json!({})), (true, true, false)),
            ((json!({}), not_ready.clone()), (false, false, false)),
            ((json!({}), going.clone()), (false, true, true)),
            ((publishing.clone(), not_ready), (true, false, false)),
            ((publishing, going), (true, true, true)),
        ];
        for ((service_detail, pod_detail), expected) in cases {
            let (service, pod) = (service(&service_detail), pod(&pod_detail));
            let endpoint = endpoint(&service, &pod, None, Family::V4).unwrap();
            let conditions = endpoint.conditions.unwrap();
            let found = (conditions.ready, conditions.serving, conditions.terminating);
            assert_eq!(found, (Some(expected.0), Some(expected.1), Some(expected.2)));
        }
    }

    #[test]
    fn each_family_has_its_own_address() {
        let (service, pod) = (service(&json!({})), pod(&json!({})));
        for (family, expected) in [(Family::V4, "10.244.0.5"), (Family::V6, "fd00::5")] {
            let endpoint = endpoint(&service, &pod, None, family).unwrap();
            assert_eq!(endpoint.addresses, [expected]);
        }
        let single: Pod =
            serde_json::from_value(json!({"metadata": {}, "status": {"podIP": "10.0.0.1"}}))
                .unwrap();
        assert!(endpoint(&service, &single, None, Family::V6).is_none());
        assert!(may_serve(&single));
    }

    #[test]
    fn ports_are_numbers_names_or_left_out() {
        for (port, expected) in [
            (json!({"port": 80}), Some(80)),
            (json!({"port": 80, "targetPort": 0}), Some(80)),
            (json!({"port": 80, "targetPort": 8081}), Some(8081)),
            (json!({"port": 80, "targetPort": "http"}), Some(8080)),
            (json!({"port": 53, "targetPort": "dns"}), None),
            (json!({"port": 53, "targetPort": "dns", "protocol": "UDP"}), Some(53)),
            (json!({"port": 80, "targetPort": "none"}), None),
        ] {
            let service = service(&json!({"spec": {"ports": [port]}}));
            let found = ports(&service, &pod(&json!({})));
            assert_eq!(found.first().and_then(|port| port.port), expected, "{port}");
        }
    }

    #[test]
    fn traffic_distribution_gives_hints() {
        let node: Node = serde_json::from_value(
            json!({"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a"}}}),
        )
        .unwrap();
        for (wish, zones, nodes) in [
            (json!(null), 0, 0),
            (json!("PreferClose"), 1, 0),
            (json!("PreferSameZone"), 1, 0),
            (json!("PreferSameNode"), 1, 1),
        ] {
            let service = service(&json!({"spec": {"trafficDistribution": wish}}));
            let endpoint = endpoint(&service, &pod(&json!({})), Some(&node), Family::V4).unwrap();
            let hints = endpoint.hints.unwrap_or_default();
            let found = (
                hints.for_zones.unwrap_or_default().len(),
                hints.for_nodes.unwrap_or_default().len(),
            );
            assert_eq!(found, (zones, nodes), "{wish}");
        }
    }

    #[test]
    fn a_hostname_counts_only_under_its_own_service() {
        for (subdomain, expected) in [("web", Some("a")), ("other", None)] {
            let pod = pod(&json!({"spec": {"hostname": "a", "subdomain": subdomain}}));
            assert_eq!(hostname(&pod, &service(&json!({}))).as_deref(), expected);
        }
    }
}
