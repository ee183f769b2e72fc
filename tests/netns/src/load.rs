//! The load that agents are replaced under: connections, flows and visits from a pod and from outside, to
//! a Service with an endpoint on each node.

use serde_json::json;

use crate::api::{Api, SERVICES, SLICES};
use crate::node::Pod;
use crate::probe::{Server, Steady, Visits};
use crate::world::World;

const CLUSTER_IP: &str = "10.96.1.1";
const NODE_PORT: u16 = 30_001;
/// TCP connections of each client.
const CONNECTIONS: u16 = 500;
/// UDP flows of each client and kind.
const FLOWS: u16 = 100;

/// Who serves and who asks.
pub struct Target {
    client: Pod,
    _pods: [Pod; 2],
    _servers: [Server; 2],
}

impl Target {
    /// Starts what serves, and writes the objects that lead there.
    pub fn new(world: &World, api: &Api) -> Self {
        let client = world.a().pod("client");
        let pods = [world.a().pod("near"), world.b().pod("far")];
        let servers = pods.each_ref().map(|pod| pod.place().serve(8080, pod.name()));
        let front = [("tcp", "TCP"), ("udp", "UDP")].map(|(name, protocol)| {
            json!({ "name": name, "protocol": protocol, "port": 80, "nodePort": NODE_PORT })
        });
        let spec = json!({ "type": "NodePort", "clusterIP": CLUSTER_IP, "ports": front });
        api.create(SERVICES, &json!({ "metadata": { "name": "target" }, "spec": spec }));
        let endpoint = |(pod, node): (&Pod, &crate::Node)| json!({ "addresses": [pod.address], "nodeName": node.name });
        let endpoints: Vec<_> = pods.iter().zip(world.nodes()).map(endpoint).collect();
        let ports = [("tcp", "TCP"), ("udp", "UDP")]
            .map(|(name, protocol)| json!({ "name": name, "protocol": protocol, "port": 8080 }));
        let labels = json!({ "kubernetes.io/service-name": "target" });
        let slice = json!({
            "metadata": { "name": "target", "labels": labels },
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        });
        api.create(SLICES, &slice);
        Self { client, _pods: pods, _servers: servers }
    }
}

/// All that talks to a [`Target`].
pub struct Load {
    crowds: Vec<(String, Steady)>,
    visits: Vec<(String, Visits)>,
}

/// What came of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// To questions over sockets that were there before.
    pub held: u64,
    /// To questions over new ones.
    pub fresh: u64,
}

impl Load {
    /// Starts to talk; every socket was answered once.
    pub fn start(world: &World, target: &Target) -> Self {
        let outside = world.outside();
        let node_port = format!("{}:{NODE_PORT}", world.a().address);
        let cluster = format!("{CLUSTER_IP}:80");
        let (mut crowds, mut visits) = (Vec::new(), Vec::new());
        for (who, place, address) in
            [("pod", target.client.place(), &cluster), ("outside", &outside, &node_port)]
        {
            // A socket that is not connected is translated at every datagram.
            for (protocol, size) in
                [("tcp", CONNECTIONS), ("udp", FLOWS), ("udp-unconnected", FLOWS)]
            {
                let crowd = place.crowd(protocol, address, size);
                crowds.push((format!("{protocol} from {who}"), crowd));
            }
            for protocol in ["tcp", "udp"] {
                visits.push((format!("{protocol} from {who}"), place.visit(protocol, address)));
            }
        }
        Self { crowds, visits }
    }

    /// Ends it; panics when anything was not answered.
    pub fn stop(self) -> Answers {
        let mut answers = Answers { held: 0, fresh: 0 };
        for (what, crowd) in self.crowds {
            let count = crowd.stop().unwrap_or_else(|error| panic!("crowd, {what}: {error}"));
            assert!(count > 0, "crowd, {what}: silent");
            answers.held += count;
        }
        for (what, visits) in self.visits {
            let visits = visits.stop().unwrap_or_else(|error| panic!("visits, {what}: {error}"));
            answers.fresh += visits.len() as u64;
        }
        answers
    }
}
