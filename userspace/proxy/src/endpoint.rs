//! The endpoints of a Service, from its EndpointSlices.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1 as discovery;

use crate::frontend::Protocol;
use crate::service::ServiceName;

/// The label that says which Service a slice belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// One endpoint on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Takes new connections.
    pub ready: bool,
    /// Answers, whether or not it is about to end.
    pub serving: bool,
    /// Is about to end.
    pub terminating: bool,
    /// The node that it runs on.
    pub node: Option<Box<str>>,
    /// Namespace and name of the pod behind it, for people.
    pub pod: Option<Box<str>>,
    /// Zones that should prefer it.
    pub zone_hints: Vec<Box<str>>,
    /// Nodes that should prefer it.
    pub node_hints: Vec<Box<str>>,
}

/// One EndpointSlice: its endpoints under each port name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    ports: BTreeMap<(Box<str>, Protocol), Vec<Endpoint>>,
}

impl Slice {
    /// Parses an object; also says which Service it belongs to. `None`: no packet depends on it
    /// (no Service, or names instead of addresses).
    pub fn parse(object: &discovery::EndpointSlice) -> Option<(ServiceName, Self)> {
        let service = service_of(object)?;
        if object.address_type == "FQDN" {
            return None;
        }
        let mut ports: BTreeMap<_, Vec<Endpoint>> = BTreeMap::new();
        for port in object.ports.iter().flatten() {
            // A port without a number means "every port", which no Service can ask for.
            let Some(number) = port.port.and_then(|number| u16::try_from(number).ok()) else {
                continue;
            };
            let Some(protocol) = Protocol::parse(port.protocol.as_deref()) else { continue };
            let name = port.name.as_deref().unwrap_or_default().into();
            let endpoints = object.endpoints.iter().flatten();
            ports
                .entry((name, protocol))
                .or_default()
                .extend(endpoints.filter_map(|endpoint| parse_endpoint(endpoint, number)));
        }
        Some((service, Self { ports }))
    }

    /// All endpoints on all ports.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.ports.values().flatten()
    }

    /// The endpoints on the port with this name and protocol.
    pub fn endpoints(&self, port_name: &str, protocol: Protocol) -> &[Endpoint] {
        self.ports.get(&(port_name.into(), protocol)).map_or(&[], Vec::as_slice)
    }
}

/// The Service that an EndpointSlice belongs to.
pub fn service_of(object: &discovery::EndpointSlice) -> Option<ServiceName> {
    let name = object.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    Some(ServiceName::new(namespace, name))
}

/// Consumers use the first address only: upstream documents the others as undefined.
fn parse_endpoint(object: &discovery::Endpoint, port: u16) -> Option<Endpoint> {
    let address: IpAddr = object.addresses.first()?.parse().ok()?;
    let conditions = object.conditions.as_ref();
    // The API's defaults for absent conditions: ready, serving like ready, not terminating.
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let hints = object.hints.as_ref();
    Some(Endpoint {
        address: SocketAddr::new(address, port),
        ready,
        serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
        terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
        node: object.node_name.as_deref().map(Into::into),
        pod: object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod")).map(
            |target| {
                let namespace = target.namespace.as_deref().unwrap_or_default();
                let name = target.name.as_deref().unwrap_or_default();
                format!("{namespace}/{name}").into()
            },
        ),
        zone_hints: hints
            .and_then(|hints| hints.for_zones.as_ref())
            .into_iter()
            .flatten()
            .map(|zone| zone.name.as_str().into())
            .collect(),
        node_hints: hints
            .and_then(|hints| hints.for_nodes.as_ref())
            .into_iter()
            .flatten()
            .map(|node| node.name.as_str().into())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(json: serde_json::Value) -> Option<(ServiceName, Slice)> {
        Slice::parse(&serde_json::from_value(json).expect("an EndpointSlice"))
    }

    #[test]
    fn absent_conditions_mean_ready() {
        let (service, slice) = slice(serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": "web-1", "labels": { SERVICE_NAME_LABEL: "web" },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.244.1.5", "10.244.1.6"], "nodeName": "b" }],
            "ports": [{ "name": "http", "port": 8080 }, { "name": "any" }],
        }))
        .expect("parsed");
        assert_eq!(service, ServiceName::new("shop", "web"));
        let [endpoint] = slice.endpoints("http", Protocol::Tcp) else { panic!("{slice:?}") };
        assert_eq!(endpoint.address, "10.244.1.5:8080".parse().expect("address"));
        assert!(endpoint.ready && endpoint.serving && !endpoint.terminating);
        assert_eq!(slice.endpoints("http", Protocol::Udp), []);
        assert_eq!(slice.endpoints("any", Protocol::Tcp), []);
    }

    #[test]
    fn slices_of_no_service_or_of_names_are_ignored() {
        let orphan = serde_json::json!({
            "metadata": { "name": "x" }, "addressType": "IPv4", "endpoints": [],
        });
        assert_eq!(slice(orphan), None);
        let names = serde_json::json!({
            "metadata": { "name": "x", "labels": { SERVICE_NAME_LABEL: "web" } },
            "addressType": "FQDN",
            "endpoints": [{ "addresses": ["web.example.org"] }],
        });
        assert_eq!(slice(names), None);
    }
}
