//! Services that change while somebody talks to them.

use serde_json::{Value, json};
use skep_netns_tests::{Services, World};
use skep_network::topology::Routing;

fn spec(protocol: &str) -> Value {
    json!({
        "type": "NodePort", "clusterIP": "10.96.0.1",
        "ports": [{ "name": "http", "port": 80, "nodePort": 30_001, "protocol": protocol }],
    })
}

#[test]
fn new_connections_follow_the_endpoints_and_refusals_end_at_once() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let (client, first, second) = (a.pod("client"), a.pod("first"), b.pod("second"));
    let servers = [first.place().serve(8080, "first"), second.place().serve(8080, "second")];
    let mut proxy = Services::start(a);
    let outside = world.outside();
    for protocol in ["TCP", "UDP"] {
        let lower = protocol.to_lowercase();
        proxy.service(&lower, &spec(protocol)).sync();
        for (endpoints, server) in [
            (vec![(&first, a)], Some("first")),
            (vec![(&second, b)], Some("second")),
            (vec![], None),
            (vec![(&first, a)], Some("first")),
        ] {
            proxy.endpoints(&lower, 8080, protocol, &endpoints).sync();
            for (who, from, address) in [
                ("pod", client.place(), "10.96.0.1:80"),
                ("node", a.host(), "10.96.0.1:80"),
                ("outside", &outside, "192.0.2.10:30001"),
            ] {
                let answer = from.ask(&lower, address);
                match server {
                    Some(server) => {
                        let answer = answer.unwrap_or_else(|e| panic!("{who}, {protocol}: {e}"));
                        assert_eq!(answer.server, server, "{who} over {protocol}");
                    }
                    None => {
                        let error = answer.expect_err("nobody serves it");
                        assert!(error.starts_with("ConnectionRefused"), "{who}: {error}");
                    }
                }
            }
        }
    }
    drop(servers);
}

#[test]
fn a_client_of_a_backend_that_goes_is_told() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let (client, first, second) = (a.pod("client"), b.pod("first"), b.pod("second"));
    let servers = [first.place().serve(8080, "first"), second.place().serve(8080, "second")];
    let mut proxy = Services::start(a);
    for protocol in ["TCP", "UDP"] {
        let lower = protocol.to_lowercase();
        proxy.service(&lower, &spec(protocol)).endpoints(&lower, 8080, protocol, &[(&first, b)]);
    }
    proxy.sync();
    let talks: Vec<_> = [("pod", client.place()), ("node", a.host())]
        .into_iter()
        .flat_map(|(who, from)| {
            ["tcp", "udp"].map(|protocol| (who, protocol, from.talk(protocol, "10.96.0.1:80")))
        })
        .collect();
    for protocol in ["TCP", "UDP"] {
        proxy.endpoints(&protocol.to_lowercase(), 8080, protocol, &[(&second, b)]);
    }
    proxy.sync();
    for (who, protocol, talk) in talks {
        let error = talk.end().expect_err("its backend is gone");
        // Not a time-out: the socket itself was closed, in the middle of a call or before the next.
        // The last is what a datagram's socket says that was cut off between the two.
        let told = [
            "ConnectionAborted",
            "ConnectionReset",
            "UnexpectedEof",
            "Uncategorized: Destination address required",
        ];
        assert!(told.iter().any(|kind| error.starts_with(kind)), "{who}, {protocol}: {error}");
    }
    drop(servers);
}

#[test]
fn connections_to_a_terminating_backend_go_on() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let (client, first, second) = (a.pod("client"), b.pod("first"), b.pod("second"));
    let servers = [first.place().serve(8080, "first"), second.place().serve(8080, "second")];
    let mut proxy = Services::start(a);
    proxy.service("tcp", &spec("TCP")).endpoints("tcp", 8080, "TCP", &[(&first, b)]).sync();
    let inside = client.place().talk("tcp", "10.96.0.1:80");
    let outside = world.outside().talk("tcp", "192.0.2.10:30001");

    proxy.endings("tcp", 8080, "TCP", &[(&first, b)], &[(&second, b)]).sync();
    for _ in 0..20 {
        let answer = client.place().ask("tcp", "10.96.0.1:80").expect("served");
        assert_eq!(answer.server, "second", "a new connection avoids the terminating backend");
    }
    for (who, talk) in [("inside", inside), ("outside", outside)] {
        talk.stop().unwrap_or_else(|error| panic!("{who}: {error}"));
    }
    drop(servers);
}

#[test]
fn affinity_keeps_a_client_with_its_backend() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let pods: Vec<_> = (0..4).map(|n| b.pod(&n.to_string())).collect();
    let servers: Vec<_> = pods.iter().map(|pod| pod.place().serve(8080, pod.name())).collect();
    let client = a.pod("client");
    let mut spec = spec("TCP");
    spec["sessionAffinity"] = "ClientIP".into();
    let endpoints: Vec<_> = pods.iter().map(|pod| (pod, b)).collect();
    let mut proxy = Services::start(a);
    proxy.service("tcp", &spec).endpoints("tcp", 8080, "TCP", &endpoints).sync();
    let outside = world.outside();
    for (who, from, address) in [
        ("pod", client.place(), "10.96.0.1:80"),
        ("node", a.host(), "10.96.0.1:80"),
        ("outside", &outside, "192.0.2.10:30001"),
    ] {
        let ask = || from.ask("tcp", address).unwrap_or_else(|error| panic!("{who}: {error}"));
        let first = ask().server;
        for _ in 0..15 {
            assert_eq!(ask().server, first, "{who} was sent elsewhere");
        }
    }
    drop(servers);
}

#[test]
fn affinity_ends_with_the_backends_part_in_the_service() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let client = a.pod("client");
    let mut sticky = spec("TCP");
    sticky["sessionAffinity"] = "ClientIP".into();
    let mut other = spec("TCP");
    other["clusterIP"] = "10.96.0.2".into();
    other["ports"][0]["nodePort"] = 30_002.into();
    let mut proxy = Services::start(a);
    let outside = world.outside();
    // Bonds that outside makes under the policy Local are apart from others.
    for (policy, node, names) in
        [("Cluster", b, ["first", "second"]), ("Local", a, ["third", "fourth"])]
    {
        sticky["externalTrafficPolicy"] = policy.into();
        let pods = names.map(|name| node.pod(name));
        let servers = pods.each_ref().map(|pod| pod.place().serve(8080, pod.name()));
        let both: Vec<_> = pods.iter().map(|pod| (pod, node)).collect();
        proxy.service("sticky", &sticky).endpoints("sticky", 8080, "TCP", &both);
        // The other Service keeps both: neither is gone from the node.
        proxy.service("other", &other).endpoints("other", 8080, "TCP", &both).sync();
        for (who, from, address) in
            [("pod", client.place(), "10.96.0.1:80"), ("outside", &outside, "192.0.2.10:30001")]
        {
            let ask =
                || from.ask("tcp", address).unwrap_or_else(|e| panic!("{who}, {policy}: {e}"));
            let bound = ask().server;
            let rest: Vec<_> =
                both.iter().copied().filter(|(pod, _)| pod.name() != bound).collect();
            proxy.endpoints("sticky", 8080, "TCP", &rest).sync();
            let now = ask().server;
            assert_ne!(now, bound, "{who}, {policy}: is sent to what is no endpoint any more");
            proxy.endpoints("sticky", 8080, "TCP", &both).sync();
        }
        drop(servers);
    }
}

#[test]
fn without_affinity_every_backend_gets_its_share() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let pods: Vec<_> = (0..3).map(|n| b.pod(&n.to_string())).collect();
    let servers: Vec<_> = pods.iter().map(|pod| pod.place().serve(8080, pod.name())).collect();
    let client = a.pod("client");
    let endpoints: Vec<_> = pods.iter().map(|pod| (pod, b)).collect();
    let mut proxy = Services::start(a);
    proxy.service("tcp", &spec("TCP")).endpoints("tcp", 8080, "TCP", &endpoints).sync();
    let outside = world.outside();
    for (who, from, address) in
        [("pod", client.place(), "10.96.0.1:80"), ("outside", &outside, "192.0.2.10:30001")]
    {
        let mut seen = std::collections::BTreeSet::new();
        // Three shares of a third: that one is missed in 60 tries happens once in 10^10.
        for _ in 0..60 {
            seen.insert(from.ask("tcp", address).unwrap_or_else(|e| panic!("{who}: {e}")).server);
        }
        assert_eq!(seen.len(), 3, "{who} saw {seen:?}");
    }
    drop(servers);
}

#[test]
fn local_policies_keep_the_clients_address_and_stay_on_the_node() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let (client, local, remote) = (a.pod("client"), a.pod("local"), b.pod("remote"));
    let servers = [local.place().serve(8080, "local"), remote.place().serve(8080, "remote")];
    let mut spec = spec("TCP");
    spec["externalTrafficPolicy"] = "Local".into();
    let mut proxy = Services::start(a);
    let outside = world.outside();

    proxy.service("tcp", &spec).endpoints("tcp", 8080, "TCP", &[(&local, a), (&remote, b)]).sync();
    for _ in 0..10 {
        let answer = outside.ask("tcp", "192.0.2.10:30001").expect("served by the local backend");
        assert_eq!(answer.server, "local");
        assert_eq!(answer.seen_as.to_string(), "192.0.2.1", "the client's own address");
    }

    proxy.endpoints("tcp", 8080, "TCP", &[(&remote, b)]).sync();
    let error = outside.ask("tcp", "192.0.2.10:30001").expect_err("no backend is here");
    assert!(error.starts_with("TimedOut"), "dropped, so that a client tries elsewhere: {error}");
    let inside = client.place().ask("tcp", "192.0.2.10:30001").expect("inside is the cluster");
    assert_eq!(inside.server, "remote");
    drop(servers);
}
