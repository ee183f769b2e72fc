//! An agent that ends and starts again is noticed by nobody.

use serde_json::json;
use skep_netns_tests::{Services, World};
use skep_network::topology::Routing;

const RESTARTS: u32 = 5;

#[test]
fn a_restart_of_the_agent_loses_no_packet() {
    let world = World::new(Routing::Auto);
    let (a, b) = (world.a(), world.b());
    let (client, remote) = (a.pod("client"), b.pod("remote"));
    let server = remote.place().serve(8080, "remote");
    let fill = |node| {
        let mut services = Services::start(node);
        for protocol in ["TCP", "UDP"] {
            let name = protocol.to_lowercase();
            let spec = json!({
                "type": "NodePort", "clusterIP": "10.96.0.1",
                "ports": [{
                    "name": "http", "port": 80, "nodePort": 30_001, "protocol": protocol,
                }],
            });
            services.service(&name, &spec).endpoints(&name, 8080, protocol, &[(&remote, b)]);
        }
        services.sync()
    };
    for node in world.nodes() {
        assert!(fill(node) > 0, "the tables were empty");
    }
    let node_port = format!("{}:30001", a.address);
    let outside = world.outside();
    let talks = [
        ("pod, ClusterIP, TCP", client.place().talk("tcp", "10.96.0.1:80")),
        ("pod, ClusterIP, UDP", client.place().talk("udp", "10.96.0.1:80")),
        ("outside, node port, TCP", outside.talk("tcp", &node_port)),
        ("outside, node port, UDP", outside.talk("udp", &node_port)),
    ];
    for _ in 0..RESTARTS {
        world.start_agents();
        for node in world.nodes() {
            assert_eq!(fill(node), 0, "a restart found all as it should be");
        }
    }
    for (what, talk) in talks {
        let count = talk.stop().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(count > 0, "{what} was silent");
    }
    drop(server);
}
