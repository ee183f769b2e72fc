//! Host ports: ports of this node that lead to one of its pods, as the CNI plugin remembers them.

use std::net::{IpAddr, SocketAddr};

use skep_network::attachments::{Attachment, PortMapping};

use crate::frontend::{
    Backend, BackendState, Family, Frontend, FrontendKey, Kind, PortTables, Protocol, Scope,
    SourceAddress, WhenEmpty,
};
use crate::local_node::LocalNode;
use crate::service::ServiceName;

/// No namespace of the API has such a name.
const NAMESPACE: &str = "host-port:";

/// What all attachments of a node ask for, each under its name.
pub fn of_node<'a>(
    attachments: &'a [Attachment],
    node: &'a LocalNode,
) -> impl Iterator<Item = (ServiceName, Vec<PortTables>)> + 'a {
    let with_ports = attachments.iter().filter(|found| !found.port_mappings.is_empty());
    with_ports.map(|found| (name(found), tables(found, node)))
}

/// The name under which an attachment's host ports are planned.
fn name(attachment: &Attachment) -> ServiceName {
    let fallback = || format!("{}/{}", attachment.id.container_id, attachment.id.ifname);
    let pod = attachment.pod.clone().unwrap_or_else(fallback);
    // A pod that is replaced under the same name may overlap with its predecessor.
    ServiceName::new(NAMESPACE, &format!("{pod}@{}", attachment.host_device))
}

/// What an attachment's host ports ask of this node.
fn tables(attachment: &Attachment, node: &LocalNode) -> Vec<PortTables> {
    let families = [Family::V4, Family::V6].into_iter();
    families
        .filter_map(|family| {
            let of_family = |address: &&IpAddr| Family::of(**address) == family;
            attachment.addresses.iter().find(of_family).map(|address| (family, *address))
        })
        .flat_map(|(family, pod)| {
            let mappings = attachment.port_mappings.iter();
            mappings.filter_map(move |mapping| port(mapping, family, pod, node))
        })
        .collect()
}

fn port(
    mapping: &PortMapping,
    family: Family,
    pod: IpAddr,
    node: &LocalNode,
) -> Option<PortTables> {
    let protocol = Protocol::parse(&mapping.protocol.to_uppercase())?;
    let only: Option<IpAddr> =
        mapping.host_ip.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
    let frontend = Frontend {
        kind: Kind::NodePort,
        set: 0,
        affinity_s: None,
        local_only: true,
        when_empty: WhenEmpty::Reject,
        source: SourceAddress::AsPlaced,
        ranged: false,
        dsr: false,
    };
    let addresses = match only {
        Some(address) => vec![address],
        None => node.node_port_addresses().collect(),
    };
    let keys = addresses.into_iter().filter(|address| Family::of(*address) == family);
    let keys = keys.flat_map(|address| {
        let scopes = [Scope::Inside, Scope::Outside].into_iter();
        let reachable = scopes.filter(move |s| *s == Scope::Inside || !address.is_loopback());
        reachable.map(move |scope| FrontendKey {
            address,
            port: mapping.host_port,
            protocol,
            scope,
        })
    });
    let frontends: Vec<_> = keys.map(|key| (key, frontend)).collect();
    (mapping.host_port != 0 && !frontends.is_empty()).then(|| PortTables {
        name: format!("{}/{protocol}/{}", mapping.host_port, mapping.host_ip).into(),
        family,
        sets: vec![vec![Backend {
            address: SocketAddr::new(pod, mapping.container_port),
            state: BackendState::Active,
            local: true,
        }]],
        frontends,
        source_ranges: Vec::new(),
        draining: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(mappings: &serde_json::Value) -> Attachment {
        let json = serde_json::json!({
            "containerID": "abc", "ifname": "eth0", "hostDevice": "skepabc",
            "addresses": ["10.244.0.5"], "pod": "shop/web-1", "portMappings": mappings,
        });
        serde_json::from_value(json).expect("an attachment")
    }

    fn node() -> LocalNode {
        LocalNode {
            name: "a".into(),
            zone: None,
            addresses: vec!["192.0.2.10".parse().expect("address")],
            ..LocalNode::default()
        }
    }

    fn lines(mappings: &serde_json::Value) -> Vec<String> {
        let tables = tables(&attachment(mappings), &node());
        let line = |port: &PortTables| {
            let keys: Vec<_> =
                port.frontends.iter().map(|(key, _)| format!("{key} {:?}", key.scope)).collect();
            format!("{} -> {}", keys.join(", "), port.sets[0][0].address)
        };
        tables.iter().map(line).collect()
    }

    #[test]
    fn a_host_port_is_served_on_all_addresses_or_on_one() {
        let any = serde_json::json!([{ "hostPort": 80, "containerPort": 8080, "protocol": "tcp" }]);
        assert_eq!(
            lines(&any),
            ["192.0.2.10:80/TCP Inside, 192.0.2.10:80/TCP Outside, 127.0.0.1:80/TCP Inside \
              -> 10.244.0.5:8080"]
        );
        let one = serde_json::json!([{
            "hostPort": 53, "containerPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1",
        }]);
        assert_eq!(lines(&one), ["127.0.0.1:53/UDP Inside -> 10.244.0.5:53"]);
    }

    #[test]
    fn a_mapping_without_host_port_asks_for_nothing() {
        let none = serde_json::json!([{ "hostPort": 0, "containerPort": 8080, "protocol": "tcp" }]);
        assert_eq!(lines(&none), [] as [&str; 0]);
    }
}
