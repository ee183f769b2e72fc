//! Pods as subsets: addresses that share the same ports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};

use crate::endpoint_slice::endpoint::{
    address, families, find_port, hostname, may_serve, protocol, publishes_not_ready, target,
};
use crate::endpoint_slice::is_headless;
use crate::pod::{is_ready, is_terminating, node_name};

/// An Endpoints object holds no more addresses than this.
const CAPACITY: usize = 1000;

/// What distinguishes one port from another, in the order ports are listed.
type PortKey = (Option<String>, i32, String, Option<String>);

#[derive(Default)]
struct Members {
    ready: BTreeMap<IpAddr, EndpointAddress>,
    not_ready: BTreeMap<IpAddr, EndpointAddress>,
}

/// The subsets of a service's pods, and whether some had to be left out.
pub(super) fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let all = publishes_not_ready(service);
    // The first family of the service is the only one these objects show.
    let primary = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()?.first());
    let families = families(service);
    let family = match primary {
        Some(name) => families.iter().find(|family| family.as_str() == name),
        None => families.first(),
    };
    let Some(family) = family else { return (Vec::new(), false) };
    let mut groups: BTreeMap<Vec<PortKey>, Members> = BTreeMap::new();
    let (mut count, mut truncated) = (0, false);
    for pod in pods {
        if !may_serve(pod) || (is_terminating(pod) && !all) {
            continue;
        }
        let Some(ip) = address(pod, *family) else { continue };
        let Some(ports) = ports(service, pod) else { continue };
        if count == CAPACITY {
            truncated = true;
            break;
        }
        count += 1;
        let members = groups.entry(ports).or_default();
        let side = if all || is_ready(pod) { &mut members.ready } else { &mut members.not_ready };
        side.insert(ip, endpoint_address(service, pod, ip));
    }
    let subsets = groups.into_iter().map(|(ports, members)| EndpointSubset {
        addresses: listed(members.ready),
        not_ready_addresses: listed(members.not_ready),
        ports: Some(ports.into_iter().map(endpoint_port).collect())
            .filter(|p: &Vec<_>| !p.is_empty()),
    });
    (subsets.collect(), truncated)
}

/// The pod's ports; nothing when it has none of the service's. A headless service needs no ports.
fn ports(service: &Service, pod: &Pod) -> Option<Vec<PortKey>> {
    let declared = service.spec.as_ref()?.ports.as_deref().unwrap_or_default();
    if declared.is_empty() {
        return is_headless(service).then(Vec::new);
    }
    let resolved = declared.iter().filter_map(|port| {
        let number = find_port(pod, port)?;
        let name = port.name.clone().filter(|name| !name.is_empty());
        Some((name, number, protocol(port).to_owned(), port.app_protocol.clone()))
    });
    let mut ports: Vec<PortKey> = resolved.collect();
    ports.sort();
    (!ports.is_empty()).then_some(ports)
}

fn endpoint_port((name, port, protocol, app_protocol): PortKey) -> EndpointPort {
    EndpointPort { name, port, protocol: Some(protocol), app_protocol }
}

fn endpoint_address(service: &Service, pod: &Pod, ip: IpAddr) -> EndpointAddress {
    EndpointAddress {
        ip: ip.to_string(),
        hostname: hostname(pod, service),
        node_name: Some(node_name(pod)).filter(|name| !name.is_empty()).map(str::to_owned),
        target_ref: Some(target(pod)),
    }
}

fn listed(addresses: BTreeMap<IpAddr, EndpointAddress>) -> Option<Vec<EndpointAddress>> {
    (!addresses.is_empty()).then(|| addresses.into_values().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_with_the_same_ports_share_a_subset() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"], "selector": {"app": "web"},
                "ports": [{"port": 80, "targetPort": "http"}]},
        }))
        .unwrap();
        let pod = |n: u8, port: u16, ready: &str, going: bool| {
            let pod = json!({
                "metadata": {"name": format!("p{n}"),
                    "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z")},
                "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
                "status": {"podIP": format!("10.244.0.{n}"), "conditions": [{"type": "Ready", "status": ready}]},
            });
            Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
        };
        let pods = [
            pod(3, 8080, "True", false),
            pod(2, 8080, "True", false),
            pod(4, 8080, "False", false),
            pod(5, 9090, "True", false),
            pod(6, 8080, "True", true),
        ];
        let ips = |addresses: &Option<Vec<EndpointAddress>>| {
            addresses.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>()
        };
        let (subsets, truncated) = subsets(&service, &pods);
        let found: Vec<_> = subsets
            .iter()
            .map(|s| {
                (s.ports.as_ref().unwrap()[0].port, ips(&s.addresses), ips(&s.not_ready_addresses))
            })
            .collect();
        let expected = [
            (8080, vec!["10.244.0.2".to_owned(), "10.244.0.3".into()], vec!["10.244.0.4".into()]),
            (9090, vec!["10.244.0.5".into()], vec![]),
        ];
        assert_eq!(found, expected);
        assert!(!truncated);
    }
}
