//! Who can talk to whom, and which source the other side sees: directly and through VXLAN.

use std::net::IpAddr;

use serde_json::json;
use skep_netns_tests::{Services, World};
use skep_network::topology::Routing;

const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn pods_and_hosts_reach_each_other(routing: Routing) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let (near, other, far) = (a.pod("near"), a.pod("other"), b.pod("far"));
    let servers = [
        near.place().serve(8080, "near"),
        far.place().serve(8080, "far"),
        a.host().serve(9090, "node-a"),
        b.host().serve(9090, "node-b"),
        world.outside().serve(7070, "outside"),
    ];
    // What the far node's pods see of a node: in the tunnel its address in its own pod range.
    let node_a = if routing == Routing::Vxlan { ip("10.244.0.1") } else { a.address };
    let (near_address, far_address) = (near.address, far.address);
    // (what, from, to, who answers, what it sees)
    let cases = [
        ("pod to pod on its node", other.place(), near_address, 8080, "near", other.address),
        ("pod to pod elsewhere", other.place(), far_address, 8080, "far", other.address),
        ("pod to itself", near.place(), near_address, 8080, "near", near_address),
        ("pod to its node", other.place(), a.address, 9090, "node-a", other.address),
        ("node to its pod", a.host(), near_address, 8080, "near", a.address),
        ("node to a pod elsewhere", a.host(), far_address, 8080, "far", node_a),
        ("pod to the world", other.place(), ip("192.0.2.1"), 7070, "outside", a.address),
        ("node to the world", a.host(), ip("192.0.2.1"), 7070, "outside", a.address),
    ];
    for (what, from, to, port, server, seen_as) in cases {
        for protocol in PROTOCOLS {
            let answer = from.ask(protocol, &format!("{to}:{port}"));
            let client = answer.unwrap_or_else(|error| panic!("{what} over {protocol}: {error}"));
            assert_eq!(client.server, server, "{what} over {protocol}");
            assert_eq!(client.seen_as, seen_as, "{what} over {protocol}");
        }
    }
    drop(servers);
}

#[test]
fn pods_and_hosts_reach_each_other_directly() {
    pods_and_hosts_reach_each_other(Routing::Direct);
}

#[test]
fn pods_and_hosts_reach_each_other_through_vxlan() {
    pods_and_hosts_reach_each_other(Routing::Vxlan);
}

fn services_lead_to_their_pods(routing: Routing) {
    let world = World::new(routing);
    let (a, b) = (world.a(), world.b());
    let (client, local, remote) = (a.pod("client"), a.pod("local"), b.pod("remote"));
    let servers = [local.place().serve(8080, "local"), remote.place().serve(8080, "remote")];
    let spec = |cluster_ip: &str, port: u16, node_port: u16, protocol: &str| {
        json!({
            "type": "NodePort", "clusterIP": cluster_ip,
            "ports": [{
                "name": "http", "port": port, "nodePort": node_port, "protocol": protocol,
            }],
        })
    };
    let mut proxies: Vec<Services<'_>> = world.nodes().iter().map(Services::start).collect();
    for proxy in &mut proxies {
        for protocol in ["TCP", "UDP"] {
            let lower = protocol.to_lowercase();
            proxy
                .service(&format!("near-{lower}"), &spec("10.96.0.1", 80, 30_001, protocol))
                .endpoints(&format!("near-{lower}"), 8080, protocol, &[(&local, a)])
                .service(&format!("far-{lower}"), &spec("10.96.0.2", 80, 30_002, protocol))
                .endpoints(&format!("far-{lower}"), 8080, protocol, &[(&remote, b)])
                .service(&format!("none-{lower}"), &spec("10.96.0.3", 80, 30_003, protocol));
        }
        proxy.sync();
    }
    let outside = world.outside();
    let node_a = a.address;
    for protocol in PROTOCOLS {
        let clients = [("pod", client.place()), ("node", a.host()), ("backend", local.place())];
        for (who, from) in clients {
            for (address, server) in [
                ("10.96.0.1:80".to_owned(), "local"),
                ("10.96.0.2:80".to_owned(), "remote"),
                (format!("{node_a}:30001"), "local"),
                (format!("{node_a}:30002"), "remote"),
            ] {
                let answer = from.ask(protocol, &address);
                let answer =
                    answer.unwrap_or_else(|error| panic!("{who} to {address} {protocol}: {error}"));
                assert_eq!(answer.server, server, "{who} to {address} over {protocol}");
            }
        }
        for (node_port, server) in [(30_001, "local"), (30_002, "remote")] {
            let address = format!("{node_a}:{node_port}");
            let answer = outside.ask(protocol, &address);
            let answer =
                answer.unwrap_or_else(|error| panic!("outside to {address} {protocol}: {error}"));
            assert_eq!(answer.server, server, "outside to {address} over {protocol}");
        }
        for address in ["10.96.0.3:80".to_owned(), format!("{node_a}:30003")] {
            for (who, from) in [("pod", client.place()), ("node", a.host()), ("outside", &outside)]
            {
                if who == "outside" && address.starts_with("10.96") {
                    continue;
                }
                let error = from.ask(protocol, &address).expect_err("nobody serves it");
                assert!(error.starts_with("ConnectionRefused"), "{who} to {address}: {error}");
            }
        }
    }
    for (who, from) in [("pod", client.place()), ("node", a.host())] {
        let answer = from.ask("udp-unconnected", "10.96.0.2:80");
        let answer = answer.unwrap_or_else(|error| panic!("{who}, unconnected: {error}"));
        assert_eq!(answer.server, "remote", "{who}, unconnected");
    }
    let loopback = a.host().ask("tcp", "127.0.0.1:30002").expect("loopback node ports are served");
    assert_eq!(loopback.server, "remote");
    drop(servers);
}

#[test]
fn services_lead_to_their_pods_directly() {
    services_lead_to_their_pods(Routing::Direct);
}

#[test]
fn services_lead_to_their_pods_through_vxlan() {
    services_lead_to_their_pods(Routing::Vxlan);
}
