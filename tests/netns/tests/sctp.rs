//! SCTP from end to end. Few kernels have its sockets: `cargo xtask vm` runs these tests under one that has.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use skep_netns_tests::{Client, Node, Place, Pod, Services, World};
use skep_network::topology::Routing;

const NODE_PORT: u16 = 30_001;
/// The Service's addresses, one of each family.
const FRONTS: [&str; 2] = ["10.96.0.1", "fd00:96::1"];

fn spec(keeps_source: bool) -> Value {
    let port = json!({ "name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "SCTP" });
    json!({
        "type": "NodePort", "clusterIP": FRONTS[0], "clusterIPs": FRONTS,
        "ipFamilies": ["IPv4", "IPv6"], "ports": [port],
        "externalTrafficPolicy": if keeps_source { "Local" } else { "Cluster" },
    })
}

/// The Service with one backend, on every node.
fn serve<'a>(world: &'a World, keeps_source: bool, backend: (&Pod, &Node)) -> Vec<Services<'a>> {
    let mut proxies: Vec<Services<'_>> = world.nodes().iter().map(Services::start).collect();
    for proxy in &mut proxies {
        proxy.service("web", &spec(keeps_source)).endpoints("web", 8080, "SCTP", &[backend]).sync();
    }
    proxies
}

fn ask(who: &str, from: &Place, to: IpAddr, port: u16) -> Client {
    let address = SocketAddr::new(to, port).to_string();
    from.ask("sctp", &address).unwrap_or_else(|error| panic!("{who} to {address}: {error}"))
}

fn everybody_is_served(routing: Routing) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let (client, near, far) = (a.pod("client"), a.pod("near"), b.pod("far"));
    let _servers = [near.place().serve(8080, "near"), far.place().serve(8080, "far")];
    for (server, node) in [(&near, a), (&far, b)] {
        let proxies = serve(&world, false, (server, node));
        for (front, node_address) in FRONTS.into_iter().zip([a.address, a.address6]) {
            let front = front.parse().expect("an address");
            for (who, from) in
                [("a pod", client.place()), ("the node", a.host()), ("itself", server.place())]
            {
                assert_eq!(ask(who, from, front, 80).server, server.name(), "{who} to {front}");
            }
            let outside = &world.outside();
            let seen = ask("outside", outside, node_address, NODE_PORT);
            assert_eq!(seen.server, server.name(), "outside to {node_address}");
            assert_eq!(ask("a pod", client.place(), node_address, NODE_PORT).server, server.name());
        }
        for proxy in &proxies {
            assert_eq!(proxy.verify(), []);
        }
    }
}

#[test]
#[ignore = "needs SCTP sockets: cargo xtask vm"]
fn everybody_is_served_directly() {
    everybody_is_served(Routing::Direct);
}

#[test]
#[ignore = "needs SCTP sockets: cargo xtask vm"]
fn everybody_is_served_through_vxlan() {
    everybody_is_served(Routing::Vxlan);
}

/// Pods see their clients; what is more than a packet arrives whole; an association outlives the agents.
#[test]
#[ignore = "needs SCTP sockets: cargo xtask vm"]
fn associations_keep_their_source_and_outlive_the_agents() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let (client, far) = (a.pod("client"), b.pod("far"));
    let _server = far.place().serve(8080, "far");
    let _proxies = serve(&world, true, (&far, b));
    let front = FRONTS[0].parse().expect("an address");
    assert_eq!(ask("a pod", client.place(), front, 80).seen_as, client.address);
    let outside = &world.outside();
    assert_eq!(ask("outside", outside, b.address, NODE_PORT).seen_as.to_string(), "192.0.2.1");

    let bulk = client.place().ask_bulk("sctp", &format!("{front}:80"));
    assert_eq!(bulk.expect("it arrives").server, "far");
    let held = [
        client.place().talk("sctp", &format!("{front}:80")),
        outside.talk("sctp", &format!("{}:{NODE_PORT}", b.address)),
    ];
    world.start_agents();
    for steady in held {
        assert!(steady.stop().expect("the association lives") > 0);
    }
}
