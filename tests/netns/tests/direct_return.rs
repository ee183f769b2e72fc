//! Direct server return with real sockets: the server sees the client, and its answers do not pass the
//! node that chose it. In both families, for a whole node and for a Service that asks for it.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use skep_abi::{Flow, FlowKey, Hook, Reason, flow_flags};
use skep_bpf::FamilyTables;
use skep_netns_tests::{Node, Services, World, wait_for};
use skep_network::topology::Routing;
use skep_proxy::local_node::Sources;

const NODE_PORT: u16 = 30_002;

/// Who asks for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Node,
    Service,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn spec(self, protocol: &str) -> Value {
        let host = if protocol == "TCP" { 1 } else { 2 };
        let (name, address) = match self {
            Self::V4 => ("IPv4", format!("10.96.0.{host}")),
            Self::V6 => ("IPv6", format!("fd00:96::{host}")),
        };
        let port = json!({
            "name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": protocol,
        });
        json!({
            "type": "NodePort", "clusterIP": address, "clusterIPs": [address],
            "ipFamilies": [name], "ports": [port],
        })
    }

    fn node(self, node: &Node) -> IpAddr {
        if self == Self::V4 { node.address } else { node.address6 }
    }

    fn outside(self) -> &'static str {
        if self == Self::V4 { "192.0.2.1" } else { "2001:db8::1" }
    }

    /// How many flows of a node are tunnels, and how many sources it translates.
    fn flows(self, node: &Node) -> (usize, usize) {
        fn of<F: skep_abi::Family>(tables: &FamilyTables<F>) -> (usize, usize) {
            let flows = tables.flows.entries().expect("read");
            let is_tunnel = |flow: &&(FlowKey<F>, Flow<F>)| flow.1.flags & flow_flags::TUNNEL != 0;
            let translated = tables.snat.entries().expect("read");
            (flows.iter().filter(is_tunnel).count(), translated.len())
        }
        let tables = node.tables();
        if self == Self::V4 { of(&tables.v4) } else { of(&tables.v6) }
    }
}

/// How many packets a node's hook counted under a reason.
fn packets(node: &Node, hook: Hook, reason: Reason) -> u64 {
    node.tables().counters.get(hook, reason).expect("read").packets
}

fn answers_go_straight_to_the_client(routing: Routing, family: Family, by: By) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let remote = b.pod("remote");
    let server = remote.place().serve(8080, "remote");
    for node in world.nodes() {
        let sources = Sources { dsr: by == By::Node, ..Sources::default() };
        let annotations = match by {
            By::Node => json!({}),
            By::Service => json!({ "skep.dev/forwarding-mode": "dsr" }),
        };
        let mut proxy = Services::start_with(node, sources);
        for (name, protocol) in [("tcp", "TCP"), ("udp", "UDP")] {
            proxy.annotated(name, &annotations, &family.spec(protocol));
            proxy.endpoints(name, 8080, protocol, &[(&remote, b)]);
        }
        proxy.sync();
    }
    let outside = world.outside();
    let address = SocketAddr::new(family.node(a), NODE_PORT).to_string();
    for protocol in ["tcp", "udp"] {
        let client = outside.ask(protocol, &address);
        let client = client.unwrap_or_else(|error| panic!("over {protocol}: {error}"));
        assert_eq!(client.server, "remote", "over {protocol}");
        assert_eq!(client.seen_as.to_string(), family.outside(), "over {protocol}");

        let sent = || packets(a, Hook::NodeIngress, Reason::Forwarded);
        let others = || packets(a, Hook::NodeIngress, Reason::Passed);
        let (sent_before, others_before) = (sent(), others());
        let talk = outside.talk(protocol, &address);
        wait_for("200 packets to the server", || {
            let count = sent() - sent_before;
            if count < 200 { Err(format!("{count} over {protocol}")) } else { Ok(()) }
        });
        talk.stop().unwrap_or_else(|error| panic!("over {protocol}: {error}"));
        // Answers would be packets for the outside, which the datapath leaves to the stack.
        let passed = others() - others_before;
        assert!(passed < 50, "{passed} packets passed node a besides the client's");
    }
    let (tunnels, translated) = family.flows(a);
    assert!(tunnels > 0, "no flow leads to the other node as it is");
    assert_eq!(translated, 0, "a source was translated");
    // Segments of full size do not fit with the outer header: the client learns the size that does.
    let client = outside.ask_bulk("tcp", &address).expect("a megabyte goes there and back");
    assert_eq!(client.seen_as.to_string(), family.outside());
    drop(server);
}

#[test]
fn answers_go_straight_to_the_client_directly() {
    answers_go_straight_to_the_client(Routing::Direct, Family::V4, By::Node);
}

#[test]
fn answers_go_straight_to_the_client_beside_vxlan() {
    answers_go_straight_to_the_client(Routing::Vxlan, Family::V4, By::Node);
}

#[test]
fn a_service_alone_answers_straight() {
    answers_go_straight_to_the_client(Routing::Direct, Family::V4, By::Service);
}

#[test]
fn answers_of_ipv6_go_straight_to_the_client() {
    answers_go_straight_to_the_client(Routing::Direct, Family::V6, By::Node);
}

#[test]
fn a_service_of_ipv6_alone_answers_straight() {
    answers_go_straight_to_the_client(Routing::Direct, Family::V6, By::Service);
}
