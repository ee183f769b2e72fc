//! The endpoints of a Service, from its EndpointSlices.

use std::net::IpAddr;
use std::sync::Arc;

use crate::frontend::Protocol;
use crate::guard::MAX_PORTS;
use crate::objects::{self, Object};
use crate::service::ServiceName;
use crate::special::special;

/// The label that says which Service a slice belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// One endpoint. A large cluster has a hundred thousand of them: it is small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: IpAddr,
    /// Takes new connections.
    pub ready: bool,
    /// Answers, whether or not it is about to end.
    pub serving: bool,
    /// Is about to end.
    pub terminating: bool,
    /// The node that it runs on.
    pub node: Option<Arc<str>>,
    /// Who should prefer it, if anybody.
    pub hints: Option<Box<Hints>>,
}

/// Who should prefer an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    /// Zones.
    pub zones: Box<[Box<str>]>,
    /// Nodes.
    pub nodes: Box<[Box<str>]>,
}

/// One EndpointSlice: its endpoints, all of them on all of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    endpoints: Box<[Endpoint]>,
    ports: Box<[Port]>,
    /// `NAMESPACE/NAME` of the pod behind each endpoint, a line each, for people.
    pods: Box<str>,
    /// Endpoints that are left out for their addresses.
    refused: Box<[IpAddr]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    name: Arc<str>,
    protocol: Protocol,
    number: u16,
}

impl Slice {
    /// Parses an object; also says which Service it belongs to. `None`: no packet depends on it
    /// (no Service, or names instead of addresses). `names` keeps one copy of each node's name.
    pub fn parse(
        object: &objects::EndpointSlice,
        names: &mut Names,
    ) -> Option<(ServiceName, Self)> {
        let service = service_of(object)?;
        if object.address_type == "FQDN" {
            return None;
        }
        let mut endpoints = Vec::with_capacity(object.endpoints.len());
        let (mut pods, mut refused) = (String::new(), Vec::new());
        for endpoint in &object.endpoints {
            let Some(parsed) = parse_endpoint(endpoint, names) else { continue };
            if special(parsed.address).is_some() {
                refused.push(parsed.address);
                continue;
            }
            endpoints.push(parsed);
            if let Some(pod) = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod") {
                pods.extend([&pod.namespace, "/", &pod.name]);
            }
            pods.push('\n');
        }
        // No Service has more that are served.
        let ports = object.ports.iter().filter_map(|port| parse_port(port, names));
        let ports = ports.take(MAX_PORTS).collect();
        let (endpoints, pods) = (endpoints.into(), pods.into());
        Some((service, Self { endpoints, ports, pods, refused: refused.into() }))
    }

    /// Endpoints that are left out: packets cannot be sent to their addresses.
    pub fn refused(&self) -> &[IpAddr] {
        &self.refused
    }

    /// All endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Addresses and the pods behind them.
    pub fn pods(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        let pods = self.endpoints.iter().zip(self.pods.lines());
        pods.filter(|(_, pod)| !pod.is_empty()).map(|(endpoint, pod)| (endpoint.address, pod))
    }

    /// The endpoints on the port with this name and protocol, and its number.
    pub fn on_port<'a>(
        &'a self,
        name: &'a str,
        protocol: Protocol,
    ) -> impl Iterator<Item = (&'a Endpoint, u16)> + Clone {
        let meant = move |port: &&Port| *port.name == *name && port.protocol == protocol;
        let ports = self.ports.iter().filter(meant);
        ports.flat_map(|port| self.endpoints.iter().map(move |e| (e, port.number)))
    }
}

/// One copy of each name that many endpoints carry.
#[derive(Debug, Default)]
pub struct Names(std::collections::HashSet<Arc<str>>);

impl Names {
    /// That copy of this name.
    pub(crate) fn keep(&mut self, name: &str) -> Arc<str> {
        if let Some(kept) = self.0.get(name) {
            return kept.clone();
        }
        let kept: Arc<str> = name.into();
        self.0.insert(kept.clone());
        kept
    }

    /// Forgets names that nobody uses any more.
    pub fn shrink(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }
}

/// The Service that an EndpointSlice belongs to.
pub fn service_of(object: &objects::EndpointSlice) -> Option<ServiceName> {
    let meta = object.meta();
    Some(ServiceName::new(&meta.namespace, meta.labels.get(SERVICE_NAME_LABEL)?))
}

fn parse_port(port: &objects::EndpointPort, names: &mut Names) -> Option<Port> {
    Some(Port {
        name: names.keep(port.name.as_deref().unwrap_or_default()),
        protocol: Protocol::parse(port.protocol.as_deref().unwrap_or_default())?,
        // A port without a number means "every port", which no Service can ask for.
        number: u16::try_from(port.port?).ok().filter(|&number| number != 0)?,
    })
}

/// Consumers use the first address only: upstream documents the others as undefined.
fn parse_endpoint(object: &objects::Endpoint, names: &mut Names) -> Option<Endpoint> {
    let conditions = object.conditions.unwrap_or_default();
    // The API's defaults for absent conditions: ready, serving like ready, not terminating.
    let ready = conditions.ready.unwrap_or(true);
    Some(Endpoint {
        address: object.addresses.first()?.parse().ok()?,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        node: object.node_name.as_deref().map(|node| names.keep(node)),
        hints: object.hints.as_ref().and_then(parse_hints),
    })
}

fn parse_hints(object: &objects::EndpointHints) -> Option<Box<Hints>> {
    let of = |hints: &[objects::Hint]| hints.iter().map(|hint| hint.name.as_str().into()).collect();
    let hints = Hints { zones: of(&object.for_zones), nodes: of(&object.for_nodes) };
    (hints != Hints::default()).then(|| Box::new(hints))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(json: &serde_json::Value) -> Option<(ServiceName, Slice)> {
        Slice::parse(
            &objects::from_json("discovery.k8s.io/v1", "EndpointSlice", json),
            &mut Names::default(),
        )
    }

    #[test]
    fn absent_conditions_mean_ready() {
        let (service, slice) = slice(&serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": "web-1", "labels": { SERVICE_NAME_LABEL: "web" },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.244.1.5", "10.244.1.6"], "nodeName": "b" }],
            "ports": [{ "name": "http", "port": 8080 }, { "name": "any" }],
        }))
        .expect("parsed");
        assert_eq!(service, ServiceName::new("shop", "web"));
        let on = |name, protocol| slice.on_port(name, protocol).collect::<Vec<_>>();
        let [(endpoint, 8080)] = on("http", Protocol::Tcp)[..] else { panic!("{slice:?}") };
        assert_eq!(endpoint.address, "10.244.1.5".parse::<IpAddr>().expect("address"));
        assert!(endpoint.ready && endpoint.serving && !endpoint.terminating);
        assert_eq!(on("http", Protocol::Udp), []);
        assert_eq!(on("any", Protocol::Tcp), []);
    }

    #[test]
    fn endpoints_with_nobodys_address_are_left_out() {
        let (_, slice) = slice(&serde_json::json!({
            "metadata": { "name": "web-1", "labels": { SERVICE_NAME_LABEL: "web" } },
            "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["169.254.169.254"] },
                { "addresses": ["10.244.1.5"],
                  "targetRef": { "kind": "Pod", "namespace": "shop", "name": "web-1" } },
                { "addresses": ["127.0.0.1"] },
            ],
            "ports": [{ "name": "http", "port": 8080 }],
        }))
        .expect("parsed");
        let address = |text: &str| text.parse::<IpAddr>().expect("address");
        assert_eq!(slice.refused(), [address("169.254.169.254"), address("127.0.0.1")]);
        let pods: Vec<_> = slice.pods().collect();
        assert_eq!(pods, [(address("10.244.1.5"), "shop/web-1")]);
        assert_eq!(slice.endpoints().len(), 1);
    }

    #[test]
    fn slices_of_no_service_or_of_names_are_ignored() {
        let orphan = serde_json::json!({
            "metadata": { "name": "x" }, "addressType": "IPv4", "endpoints": [],
        });
        assert_eq!(slice(&orphan), None);
        let names = serde_json::json!({
            "metadata": { "name": "x", "labels": { SERVICE_NAME_LABEL: "web" } },
            "addressType": "FQDN",
            "endpoints": [{ "addresses": ["web.example.org"] }],
        });
        assert_eq!(slice(&names), None);
    }
}
