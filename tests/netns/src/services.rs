//! Services without an API: the proxy's pure functions, and its writer on each node's tables.

use std::time::Instant;

use serde_json::{Value, json};
use skep_bpf::Tables;
use skep_proxy::desired::Desired;
use skep_proxy::host_ports;
use skep_proxy::local_node::LocalNode;
use skep_proxy::names::NamesLog;
use skep_proxy::objects;
use skep_proxy::plan::Planner;
use skep_proxy::rows;
use skep_proxy::ways::Ways;

use crate::node::{Node, Pod};

/// The proxy of one node.
pub struct Services<'a> {
    on: &'a Node,
    tables: Tables,
    desired: Desired,
    planner: Planner,
    node: LocalNode,
}

impl<'a> Services<'a> {
    /// Starts on what the node's tables hold. Nothing is removed until the first [`Services::sync`].
    pub fn start(node: &'a Node) -> Self {
        let tables = node.tables();
        let snapshot = rows::snapshot(&tables).expect("the tables can be read");
        let capacity = rows::capacity(&tables).expect("the tables can be read");
        let local = LocalNode {
            name: node.name.as_str().into(),
            addresses: vec![node.address],
            ..LocalNode::default()
        };
        Self {
            on: node,
            planner: Planner::new(capacity, snapshot),
            desired: Desired::new(local.clone()),
            node: local,
            tables,
        }
    }

    /// Adds or replaces a Service with one port, called `http`.
    pub fn service(&mut self, name: &str, spec: &Value) -> &mut Self {
        let object = json!({ "metadata": { "namespace": "test", "name": name }, "spec": spec });
        self.desired.set_service(&objects::from_json("v1", "Service", &object));
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
        let endpoint = |(pod, node): &(&Pod, &Node), ready: bool| {
            json!({
                "addresses": [pod.address], "nodeName": node.name,
                "conditions": { "ready": ready, "serving": true, "terminating": !ready },
            })
        };
        let ending = ending.iter().map(|pod| endpoint(pod, false));
        let endpoints: Vec<Value> =
            ready.iter().map(|pod| endpoint(pod, true)).chain(ending).collect();
        let object = json!({
            "metadata": {
                "namespace": "test", "name": service,
                "labels": { "kubernetes.io/service-name": service },
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{ "name": "http", "port": port, "protocol": protocol }],
        });
        let object = objects::from_json("discovery.k8s.io/v1", "EndpointSlice", &object);
        self.desired.set_slice(&object);
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
        let cookies = rows::take_sockets(&self.tables, &plan.gone).expect("the tables can be read");
        if !cookies.is_empty() {
            self.on.close_sockets(&cookies);
        }
        plan.services.len() + plan.removed.len()
    }
}
