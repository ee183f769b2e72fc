//! Services, EndpointSlices and Nodes as the API has them.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::plan;
use crate::shape::{Endpoint, Hint, Ranges, Shape, Spot, State};
use crate::terms::{Address, Family};

const OWN_ZONE: &str = "east";
const OTHER_ZONE: &str = "west";

/// The name of the Service with this number.
pub(crate) fn name(number: u16) -> String {
    format!("case-{number}")
}

/// A Service.
pub(crate) fn service(number: u16, shape: &Shape) -> Value {
    let families = shape.families;
    let at = |address| -> Vec<IpAddr> {
        families.iter().map(|&family| plan::service_address(number, address, family)).collect()
    };
    let port = |protocol: &str| {
        json!({
            "name": protocol.to_lowercase(), "protocol": protocol, "port": plan::PORT,
            "targetPort": plan::TARGET_PORT, "nodePort": plan::node_port(number),
        })
    };
    let policy = |local| if local { "Local" } else { "Cluster" };
    let cluster_ips = at(Address::Cluster);
    let names: Vec<&str> = families.iter().map(|family| family.in_objects()).collect();
    let stack = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" };
    let mut spec = json!({
        "type": "LoadBalancer",
        "clusterIP": cluster_ips[0], "clusterIPs": cluster_ips,
        "ipFamilies": names, "ipFamilyPolicy": stack,
        "ports": [port("TCP"), port("UDP")],
        "externalIPs": at(Address::External),
        "internalTrafficPolicy": policy(shape.internal_local),
        "externalTrafficPolicy": policy(shape.external_local),
        "sessionAffinity": if shape.affinity { "ClientIP" } else { "None" },
        "loadBalancerSourceRanges": ranges(shape),
    });
    if shape.external_local {
        spec["healthCheckNodePort"] = plan::health_port(number).into();
    }
    json!({ "metadata": { "name": name(number), "namespace": "default" }, "spec": spec })
}

fn ranges(shape: &Shape) -> Value {
    let hosts: &[u16] = match shape.ranges {
        Ranges::Everybody => return Value::Null,
        Ranges::Outside => &[plan::OUTSIDE],
        Ranges::Nodes => &[plan::NODE1, plan::NODE2],
        Ranges::Strangers => &[plan::STRANGER],
        Ranges::Pods => {
            return json!(
                shape.families.iter().map(|&f| plan::cluster_range(f)).collect::<Vec<_>>()
            );
        }
    };
    let single = |(&host, &family): (&u16, &Family)| {
        let address = plan::host(host, family);
        format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
    };
    let pairs =
        hosts.iter().flat_map(|host| shape.families.iter().map(move |family| (host, family)));
    pairs.map(single).collect()
}

/// The status of a Service: what a cloud's controller tells about its load balancer.
pub(crate) fn service_status(number: u16, shape: &Shape) -> Value {
    let ingress = |&family: &Family| {
        let at = |address| plan::service_address(number, address, family);
        [
            json!({ "ip": at(Address::Balancer), "ipMode": "VIP" }),
            json!({ "ip": at(Address::BalancerProxy), "ipMode": "Proxy" }),
        ]
    };
    let ingress: Vec<Value> = shape.families.iter().flat_map(ingress).collect();
    json!({ "status": { "loadBalancer": { "ingress": ingress } } })
}

/// The endpoints of a Service in one family.
pub(crate) fn slice(
    number: u16,
    shape: &Shape,
    family: Family,
    address_of: impl Fn(Spot) -> IpAddr,
) -> Value {
    let endpoints: Vec<Value> =
        shape.endpoints.iter().map(|own| endpoint(own, address_of(own.at))).collect();
    let service = name(number);
    let port = |protocol: &str| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": plan::TARGET_PORT });
    json!({
        "metadata": {
            "name": format!("{service}-{family}").to_lowercase(), "namespace": "default",
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family.in_objects(),
        "endpoints": endpoints,
        "ports": [port("TCP"), port("UDP")],
    })
}

fn endpoint(endpoint: &Endpoint, address: IpAddr) -> Value {
    let (ready, serving, terminating) = match endpoint.state {
        State::Ready => (true, true, false),
        State::Unready => (false, false, false),
        State::Ending => (false, true, true),
        State::Ended => (false, false, true),
    };
    let (node, zone) =
        if endpoint.at.is_near() { ("node1", OWN_ZONE) } else { ("node2", OTHER_ZONE) };
    let hints = match endpoint.hint {
        Hint::None => Value::Null,
        Hint::OwnZone => json!({ "forZones": [{ "name": OWN_ZONE }] }),
        Hint::OtherZone => json!({ "forZones": [{ "name": OTHER_ZONE }] }),
        Hint::OwnNode => json!({ "forNodes": [{ "name": "node1" }] }),
        Hint::OtherNode => json!({ "forNodes": [{ "name": "node2" }] }),
    };
    json!({
        "addresses": [address], "nodeName": node, "zone": zone, "hints": hints,
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
    })
}

/// A Node, and its status.
pub(crate) fn node(number: u8) -> (Value, Value) {
    let name = format!("node{number}");
    let zone = if number == 1 { OWN_ZONE } else { OTHER_ZONE };
    let ranges = Family::ALL.map(|family| plan::pod_range(number, family));
    let host = if number == 1 { plan::NODE1 } else { plan::NODE2 };
    let addresses = Family::ALL
        .map(|family| json!({ "type": "InternalIP", "address": plan::host(host, family) }));
    let node = json!({
        "metadata": { "name": name, "labels": {
            "topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name,
        } },
        "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
    });
    (node, json!({ "status": { "addresses": addresses } }))
}
