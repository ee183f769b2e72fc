//! The CNI plugin's operations, as a runtime calls them.

use serde_json::json;
use skep_netns_tests::{Services, World};
use skep_network::topology::Routing;

#[test]
fn pods_are_attached_checked_detached_and_collected() {
    let world = World::new(Routing::Direct);
    let node = world.a();
    node.cni("STATUS", "", json!({})).expect("the datapath is ready");

    let (first, second) = (node.pod("first"), node.pod("second"));
    assert_ne!(first.address, second.address);
    for pod in [&first, &second] {
        node.cni_for("CHECK", pod, json!({ "prevResult": pod.result })).expect("as ADD left it");
        assert!(
            skep_network::endpoints::get(&node.tables(), pod.address)
                .expect("the table can be read")
                .is_some()
        );
    }

    for _ in 0..2 {
        node.cni_for("DEL", &first, json!({})).expect("DEL can be repeated");
    }
    let gone = node.cni_for("CHECK", &first, json!({})).expect_err("it is detached");
    assert_eq!(gone.code, 100);
    let row = skep_network::endpoints::get(&node.tables(), first.address);
    assert_eq!(row.expect("the table can be read"), None);

    let third = node.pod("third");
    assert_ne!(third.address, first.address, "a returned address rests");
    let keep = json!([{ "containerID": third.container_id(), "ifname": "eth0" }]);
    node.cni("GC", "", json!({ "cni.dev/valid-attachments": keep })).expect("collected");
    node.cni_for("CHECK", &second, json!({})).expect_err("it was collected");
    node.cni_for("CHECK", &third, json!({})).expect("it was named");
}

#[test]
fn host_ports_lead_to_their_pods_by_address_and_protocol() {
    let world = World::new(Routing::Direct);
    let node = world.a();
    let mapped = |host_ip: &str, protocol: &str| {
        json!({ "runtimeConfig": { "portMappings": [{
            "hostPort": 5432, "containerPort": 8080, "protocol": protocol, "hostIP": host_ip,
        }] } })
    };
    let pods = [
        node.pod_with("loopback", mapped("127.0.0.1", "tcp")),
        node.pod_with("tcp", mapped("192.0.2.10", "tcp")),
        node.pod_with("udp", mapped("192.0.2.10", "udp")),
    ];
    let servers: Vec<_> = pods.iter().map(|pod| pod.place().serve(8080, pod.name())).collect();
    Services::start(node).host_ports().sync();
    let outside = world.outside();
    for (from, protocol, address, server) in [
        (node.host(), "tcp", "127.0.0.1:5432", "loopback"),
        (node.host(), "tcp", "192.0.2.10:5432", "tcp"),
        (node.host(), "udp", "192.0.2.10:5432", "udp"),
        (&outside, "tcp", "192.0.2.10:5432", "tcp"),
        (&outside, "udp", "192.0.2.10:5432", "udp"),
    ] {
        let answer = from.ask(protocol, address);
        let answer = answer.unwrap_or_else(|error| panic!("{address}/{protocol}: {error}"));
        assert_eq!(answer.server, server, "{address}/{protocol}");
    }
    drop(servers);
}
