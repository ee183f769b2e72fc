//! Services without an API: the proxy's pure functions, and its writer on each node's tables.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value, json};
use skep_bpf::Tables;
use skep_proxy::desired::Desired;
use skep_proxy::host_ports;
use skep_proxy::local_node::{LocalNode, Sources};
use skep_proxy::names::NamesLog;
use skep_proxy::objects::{self, EndpointSlice, Service};
use skep_proxy::plan::Planner;
use skep_proxy::rows;
use skep_proxy::verify::{self, Cluster, Difference};
use skep_proxy::ways::Ways;

use crate::node::{Node, Pod};

/// What a slice has of pods.
type AddressOf = fn(&Pod) -> IpAddr;
/// Every Service has a slice of each family; those of one family ignore the other.
const FAMILIES: [(&str, AddressOf); 2] =
    [("IPv4", |pod| pod.address), ("IPv6", |pod| pod.address6)];

/// The proxy of one node.
pub struct Services<'a> {
    on: &'a Node,
    tables: Tables,
    desired: Desired,
    planner: Planner,
    node: LocalNode,
    /// The objects as they are now, by their names.
    services: BTreeMap<String, Service>,
    slices: BTreeMap<String, EndpointSlice>,
}

impl<'a> Services<'a> {
    /// Starts on what the node's tables hold. Nothing is removed until the first [`Services::sync`].
    pub fn start(node: &'a Node) -> Self {
        Self::start_with(node, Sources::default())
    }

    /// The same, treating clients' addresses in another way.
    pub fn start_with(node: &'a Node, sources: Sources) -> Self {
        let tables = node.tables();
        let snapshot = rows::snapshot(&tables).expect("the tables can be read");
        let capacity = rows::capacity(&tables).expect("the tables can be read");
        let local = LocalNode {
            name: node.name.as_str().into(),
            addresses: vec![node.address, node.address6],
            sources,
            ..LocalNode::default()
        };
        Self {
            on: node,
            planner: Planner::new(capacity, snapshot),
            desired: Desired::new(local.clone()),
            node: local,
            tables,
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
        }
    }

    /// Adds or replaces a Service with one port, called `http`.
    pub fn service(&mut self, name: &str, spec: &Value) -> &mut Self {
        self.annotated(name, &json!({}), spec)
    }

    /// The same with annotations.
    pub fn annotated(&mut self, name: &str, annotations: &Value, spec: &Value) -> &mut Self {
        let metadata = json!({ "namespace": "test", "name": name, "annotations": annotations });
        let object = json!({ "metadata": metadata, "spec": spec });
        let object = objects::from_json("v1", "Service", &object);
        self.desired.set_service(&object);
        self.services.insert(name.to_owned(), object);
        self
    }

    /// Adds or replaces the endpoints of a Service: pods and the node of each.
    pub fn endpoints(
        &mut self,
        service: &str,
        port: u16,
        protocol: &str,
        pods: &[(&Pod, &Node)],
    ) -> &mut Self {
        self.endings(service, port, protocol, &[], pods)
    }

    /// The same with pods that are about to end, but still serve.
    pub fn endings(
        &mut self,
        service: &str,
        port: u16,
        protocol: &str,
        ending: &[(&Pod, &Node)],
        ready: &[(&Pod, &Node)],
    ) -> &mut Self {
        for (family, address_of) in FAMILIES {
            let endpoint = |(pod, node): &(&Pod, &Node), ready: bool| {
                json!({
                    "addresses": [address_of(pod)], "nodeName": node.name,
                    "conditions": { "ready": ready, "serving": true, "terminating": !ready },
                })
            };
            let ending = ending.iter().map(|pod| endpoint(pod, false));
            let endpoints: Vec<Value> =
                ready.iter().map(|pod| endpoint(pod, true)).chain(ending).collect();
            let name = format!("{service}-{}", family.to_lowercase());
            let object = json!({
                "metadata": {
                    "namespace": "test", "name": name,
                    "labels": { "kubernetes.io/service-name": service },
                },
                "addressType": family,
                "endpoints": endpoints,
                "ports": [{ "name": "http", "port": port, "protocol": protocol }],
            });
            let object = objects::from_json("discovery.k8s.io/v1", "EndpointSlice", &object);
            self.desired.set_slice(&object);
            self.slices.insert(name, object);
        }
        self
    }

    /// Takes in the host ports of the node's pods.
    pub fn host_ports(&mut self) -> &mut Self {
        for (name, ports) in host_ports::of_node(&self.on.attachments(), &self.node) {
            self.planner.set_service(&name, ports, Instant::now());
        }
        self
    }

    /// Leaves names of Services and of these pods for the tools, as the agent does.
    pub fn name(&self, pods: &[&Pod]) {
        let services = self.planner.ids().map(|(id, key)| (id, key.to_string()));
        let pods: Vec<_> =
            pods.iter().map(|pod| (pod.address, format!("test/{}", pod.name()))).collect();
        let pods = pods.iter().map(|(address, name)| (*address, name.as_str()));
        let mut names = NamesLog::new(&self.on.state_dir);
        names.begin(services, pods).expect("the node's folder is writable");
    }

    /// Writes the differences; returns how many rows of `services` were written or removed.
    pub fn sync(&mut self) -> usize {
        let now = Instant::now();
        for (name, ports) in self.desired.take_changed(usize::MAX) {
            self.planner.set_service(&name, ports, now);
        }
        self.planner.settle(now);
        let plan = self.planner.take_plan(now);
        rows::apply(&self.tables, &plan, &Ways::default()).expect("the tables can be written");
        let host = self.planner.serves_on(&self.node.addresses);
        rows::set_host_backends(&self.tables, host).expect("the tables can be written");
        rows::cut_datagrams(&self.tables, &plan.gone).expect("the tables can be written");
        rows::unbind(&self.tables, &plan.unbound).expect("the tables can be written");
        let cookies = rows::take_sockets(&self.tables, &plan.gone).expect("the tables can be read");
        if !cookies.is_empty() {
            self.on.close_sockets(&cookies);
        }
        plan.services.len() + plan.removed.len()
    }

    /// Where the tables differ from what a fresh start would write.
    pub fn verify(&self) -> Vec<Difference> {
        let cluster = Cluster {
            services: self.services.values().cloned().collect(),
            slices: self.slices.values().cloned().collect(),
            host_ports: Vec::new(),
        };
        let names = self.planner.ids().map(|(id, key)| (id, key.to_string())).collect();
        let expected =
            verify::expected(&cluster, &self.node, rows::capacity(&self.tables).expect("read"));
        let found = verify::found(&self.tables, &names).expect("the tables can be read");
        verify::compare(&expected, &found)
    }
}
