//! `skep net explain` says what then happens.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use skep_netns_tests::{Services, World};
use skep_network::topology::Routing;

fn service(cluster_ip: &str, node_port: u16) -> Value {
    json!({
        "type": "NodePort", "clusterIP": cluster_ip,
        "ports": [{ "name": "http", "port": 80, "nodePort": node_port, "protocol": "TCP" }],
    })
}

#[test]
fn explain_says_what_then_happens() {
    let world = World::new(Routing::Vxlan);
    let (a, b) = (world.a(), world.b());
    let (client, local, remote) = (a.pod("client"), a.pod("local"), b.pod("remote"));
    let _servers = [local.place().serve(8080, "local"), remote.place().serve(8080, "remote")];
    let mut services = Services::start(a);
    services
        .service("near", &service("10.96.0.1", 30_001))
        .endpoints("near", 8080, "TCP", &[(&local, a)])
        .service("far", &service("10.96.0.2", 30_002))
        .endpoints("far", 8080, "TCP", &[(&remote, b)])
        .service("none", &service("10.96.0.3", 30_003));
    services.sync();
    services.name(&[&client, &local, &remote]);
    let outside = world.outside();
    let (pod, node) = (client.place(), a.host());
    let (node_near, node_far, node_none) = (
        format!("{}:30001", a.address),
        format!("{}:30002", a.address),
        format!("{}:30003", a.address),
    );
    // (who, from, the question, the address that is then asked)
    let cases = [
        (pod, "client", "near", "10.96.0.1:80"),
        (pod, "client", "test/far", "10.96.0.2:80"),
        (pod, "client", "none:80", "10.96.0.3:80"),
        (pod, "client", "10.96.0.1:81", "10.96.0.1:81"),
        (pod, "client", &node_far, &node_far),
        (pod, "client", "local:8080", &format!("{}:8080", local.address)),
        (pod, "client", "remote:8080", &format!("{}:8080", remote.address)),
        (node, "node", "near:http", "10.96.0.1:80"),
        (node, "node", "far", "10.96.0.2:80"),
        (node, "node", "none", "10.96.0.3:80"),
        (&outside, "192.0.2.1", &node_near, &node_near),
        (&outside, "192.0.2.1", &node_far, &node_far),
        (&outside, "192.0.2.1", &node_none, &node_none),
    ];
    for (place, from, question, address) in cases {
        let told = a.net_json(&["explain", question, "--from", from]);
        let answer = told["answer"].as_str().expect("a sentence").to_owned();
        let text = a.net(&["explain", question, "--from", from]);
        assert!(text.trim_end().ends_with(&answer), "{text}");
        match place.ask("tcp", address) {
            Ok(client) => {
                let socket = |field: &str| -> SocketAddr {
                    told[field].as_str().and_then(|text| text.parse().ok()).expect("a socket")
                };
                let server: IpAddr =
                    if client.server == "local" { local.address } else { remote.address };
                let end = socket("finalDestination");
                assert_eq!((end.ip(), end.port()), (server, 8080), "{text}");
                assert!(answer.contains(&format!("test/{}", client.server)), "{answer}");
                // A node's stack chooses the source itself.
                if from != "node" {
                    assert_eq!(socket("finalSource").ip(), client.seen_as, "{text}");
                }
            }
            Err(error) => {
                assert!(error.starts_with("ConnectionRefused"), "{question}: {error}");
                assert!(answer.contains("refused at once"), "{answer}");
            }
        }
    }
}

#[test]
fn explain_asks_back_when_a_question_has_no_meaning() {
    let world = World::new(Routing::Direct);
    let a = world.a();
    // (words, what the error names)
    let cases: &[(&[&str], &str)] = &[
        (&["explain", "nobody"], "no Service and no pod is called nobody"),
        (&["explain", "10.0.0.1"], "10.0.0.1:PORT"),
        (&["explain", "10.0.0.1:80"], "--from node, outside or ADDRESS"),
        (&["explain", "10.0.0.1:80", "--from", "nobody"], "--from"),
        (&["explain", "10.0.0.1:80", "--from", "::1"], "different address families"),
        (&["explain", "10.0.0.1:80", "--proto", "icmp"], "tcp, udp or sctp"),
    ];
    for (words, named) in cases {
        let error = a.net_to(words, &mut Vec::new()).expect_err("refused");
        assert!(format!("{error:#}").contains(named), "{words:?}: {error:#}");
    }
}
