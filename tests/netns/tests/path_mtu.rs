//! Packets that are too big for a link on their way: the router's errors reach the sender through every
//! translation, and what comes in pieces is translated in pieces.

use serde_json::json;
use skep_netns_tests::{Services, World};
use skep_network::topology::Routing;

/// What the narrow link carries.
const NARROW: u32 = 1300;

fn spec(cluster_ip: &str, node_port: u16, protocol: &str) -> serde_json::Value {
    json!({
        "type": "NodePort", "clusterIP": cluster_ip,
        "ports": [{ "name": "http", "port": 80, "nodePort": node_port, "protocol": protocol }],
    })
}

fn megabytes_get_over_a_narrow_link(routing: Routing) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let (local, remote, client) = (a.pod("local"), b.pod("remote"), a.pod("client"));
    let far = world.far(NARROW);
    let servers = [
        local.place().serve(8080, "local"),
        remote.place().serve(8080, "remote"),
        far.serve(7070, "far"),
    ];
    for node in world.nodes() {
        let mut services = Services::start(node);
        services
            .service("near", &spec("10.96.0.1", 30_001, "TCP"))
            .endpoints("near", 8080, "TCP", &[(&local, a)])
            .service("remote", &spec("10.96.0.2", 30_002, "TCP"))
            .endpoints("remote", 8080, "TCP", &[(&remote, b)])
            .sync();
    }
    // (what, from, to, who answers)
    let cases = [
        ("answers of a backend here", &far, "192.0.2.10:30001", "local"),
        ("answers of a backend elsewhere", &far, "192.0.2.10:30002", "remote"),
        ("packets of a masqueraded pod", client.place(), "203.0.113.2:7070", "far"),
    ];
    for (what, from, to, server) in cases {
        let answer = from.ask_bulk("tcp", to).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.server, server, "{what}");
    }
    drop(servers);
}

#[test]
fn megabytes_get_over_a_narrow_link_directly() {
    megabytes_get_over_a_narrow_link(Routing::Direct);
}

#[test]
fn megabytes_get_over_a_narrow_link_through_vxlan() {
    megabytes_get_over_a_narrow_link(Routing::Vxlan);
}

fn datagrams_arrive_in_pieces(routing: Routing) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let (local, remote, client) = (a.pod("local"), b.pod("remote"), a.pod("client"));
    let outside = world.outside();
    let servers = [
        local.place().serve(8080, "local"),
        remote.place().serve(8080, "remote"),
        outside.serve(7070, "outside"),
    ];
    for node in world.nodes() {
        let mut services = Services::start(node);
        services
            .service("near", &spec("10.96.0.1", 30_001, "UDP"))
            .endpoints("near", 8080, "UDP", &[(&local, a)])
            .service("remote", &spec("10.96.0.2", 30_002, "UDP"))
            .endpoints("remote", 8080, "UDP", &[(&remote, b)])
            .sync();
    }
    let cases = [
        ("to a node port, backend here", &outside, "192.0.2.10:30001", "local"),
        ("to a node port, backend elsewhere", &outside, "192.0.2.10:30002", "remote"),
        ("to a Service, backend here", client.place(), "10.96.0.1:80", "local"),
        ("to a Service, backend elsewhere", client.place(), "10.96.0.2:80", "remote"),
        ("from a pod to the world", client.place(), "192.0.2.1:7070", "outside"),
    ];
    for (what, from, to, server) in cases {
        let answer = from.ask_bulk("udp", to).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.server, server, "{what}");
    }
    drop(servers);
}

#[test]
fn datagrams_arrive_in_pieces_directly() {
    datagrams_arrive_in_pieces(Routing::Direct);
}

#[test]
fn datagrams_arrive_in_pieces_through_vxlan() {
    datagrams_arrive_in_pieces(Routing::Vxlan);
}
