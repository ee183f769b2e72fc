//! Direct server return with real sockets: the server sees the client, and its answers do not pass the
//! node that chose it.

use std::time::{Duration, Instant};

use serde_json::json;
use skep_abi::{Hook, Reason, Service, ServiceKey, V4, flow_flags, scope, service_flags};
use skep_bpf::Tables;
use skep_netns_tests::{Node, Services, World};
use skep_network::topology::Routing;

const NODE_PORT: u16 = 30_002;

/// Turns what a node serves to the outside into direct return; `serves` says whether the backends are
/// all on this node.
fn return_directly(tables: &Tables, serves: bool) {
    let services = &tables.v4.services;
    let rows = services.entries().expect("read");
    let outside = |(key, _): &&(ServiceKey<V4>, Service)| key.scope == scope::EXTERNAL;
    for (key, service) in rows.iter().filter(outside) {
        let chosen = Service { flags: service.flags | service_flags::DSR, ..*service };
        let here = if serves {
            Service { flags: chosen.flags | service_flags::LOCAL, ..*service }
        } else {
            Service { flags: chosen.flags | service_flags::DROP, slot_count: 0, ..*service }
        };
        services.insert(key, &chosen).expect("written");
        services.insert(&ServiceKey { scope: scope::LOCAL, ..*key }, &here).expect("written");
    }
    assert!(rows.iter().any(|row| outside(&row)), "nothing is served to the outside");
}

/// How many packets a node's hook counted under a reason.
fn packets(node: &Node, hook: Hook, reason: Reason) -> u64 {
    let all = node.tables().counters.all().expect("read");
    all.iter().find(|(h, r, _)| (*h, *r) == (hook, reason)).map_or(0, |(_, _, c)| c.packets)
}

fn answers_go_straight_to_the_client(routing: Routing) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let remote = b.pod("remote");
    let server = remote.place().serve(8080, "remote");
    for (node, serves) in [(a, false), (b, true)] {
        let mut proxy = Services::start(node);
        for (name, protocol) in [("tcp", "TCP"), ("udp", "UDP")] {
            let port =
                json!({ "name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": protocol });
            let address = if protocol == "TCP" { "10.96.0.1" } else { "10.96.0.2" };
            let spec = json!({ "type": "NodePort", "clusterIP": address, "ports": [port] });
            proxy.service(name, &spec).endpoints(name, 8080, protocol, &[(&remote, b)]);
        }
        proxy.sync();
        return_directly(&node.tables(), serves);
    }
    let outside = world.outside();
    let address = format!("{}:{NODE_PORT}", a.address);
    for protocol in ["tcp", "udp"] {
        let client = outside.ask(protocol, &address);
        let client = client.unwrap_or_else(|error| panic!("over {protocol}: {error}"));
        assert_eq!(client.server, "remote", "over {protocol}");
        assert_eq!(client.seen_as.to_string(), "192.0.2.1", "over {protocol}");

        let sent = || packets(a, Hook::NodeIngress, Reason::Forwarded);
        let others = || packets(a, Hook::NodeIngress, Reason::Passed);
        let (sent_before, others_before) = (sent(), others());
        let talk = outside.talk(protocol, &address);
        let deadline = Instant::now() + Duration::from_secs(20);
        while sent() < sent_before + 200 {
            assert!(Instant::now() < deadline, "over {protocol}: {} packets", sent() - sent_before);
            std::thread::yield_now();
        }
        talk.stop().unwrap_or_else(|error| panic!("over {protocol}: {error}"));
        // Answers would be packets for the outside, which the datapath leaves to the stack.
        let passed = others() - others_before;
        assert!(passed < 50, "{passed} packets passed node a besides the client's");
    }
    let flows = a.tables().v4.flows.entries().expect("read");
    assert!(flows.iter().any(|(_, flow)| flow.flags & flow_flags::TUNNEL != 0), "{flows:?}");
    assert!(a.tables().v4.snat.entries().expect("read").is_empty());
    // Segments of full size do not fit with the outer header: the client learns the size that does.
    let client = outside.ask_bulk("tcp", &address).expect("a megabyte goes there and back");
    assert_eq!(client.seen_as.to_string(), "192.0.2.1");
    drop(server);
}

#[test]
fn answers_go_straight_to_the_client_directly() {
    answers_go_straight_to_the_client(Routing::Direct);
}

#[test]
fn answers_go_straight_to_the_client_beside_vxlan() {
    answers_go_straight_to_the_client(Routing::Vxlan);
}
