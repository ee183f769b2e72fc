//! An API server that goes away and comes back, with and without its history: traffic goes on, and what
//! was missed is made up for.

use serde_json::{Value, json};
use skep_netns_tests::api::{Api, SERVICES, SLICES};
use skep_netns_tests::{Agent, Node, Pod, World, length, wait_for};
use skep_network::topology::Routing;

/// How long it stays away. A minute of it: `SKEP_AWAY_SECONDS=60`.
const SECONDS: u64 = 3;
/// Sockets that each client keeps.
const CROWD: u16 = 20;
const NODE_PORT: u16 = 30_001;

fn service(api: &Api, name: &str, cluster_ip: &str) {
    let mut port = json!({ "name": "http", "port": 80 });
    if name == "stays" {
        port["nodePort"] = NODE_PORT.into();
    }
    let spec = json!({ "type": "NodePort", "clusterIP": cluster_ip, "ports": [port] });
    api.create(SERVICES, &json!({ "metadata": { "name": name }, "spec": spec }));
}

fn endpoints(pods: &[&Pod]) -> Value {
    pods.iter().map(|pod| json!({ "addresses": [pod.address], "nodeName": "b" })).collect()
}

fn slice(api: &Api, service: &str, pods: &[&Pod]) {
    let slice = json!({
        "metadata": {
            "name": service, "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": "IPv4", "endpoints": endpoints(pods),
        "ports": [{ "name": "http", "port": 8080 }],
    });
    api.create(SLICES, &slice);
}

/// What happens while nobody looks, before and after the server comes back.
struct Absence {
    /// What goes, what comes in its place, and the address of that.
    replaced: [&'static str; 3],
    forgets: bool,
    /// Whether agents are killed while it is away.
    kills: bool,
}

#[test]
fn traffic_goes_on_and_what_was_missed_is_made_up_for() {
    let world = World::new(Routing::Auto);
    let (a, b) = (world.a(), world.b());
    let mut api = Api::start(&world);
    let (client, old, new) = (a.pod("client"), b.pod("old"), b.pod("new"));
    let _servers = [old.place().serve(8080, "old"), new.place().serve(8080, "new")];
    service(&api, "stays", "10.96.1.1");
    service(&api, "first", "10.96.1.2");
    slice(&api, "stays", &[&old]);
    slice(&api, "first", &[&old]);
    let kubeconfig = api.kubeconfig();
    let start = || world.nodes().iter().map(|node| node.agent(&kubeconfig)).collect();
    let mut agents: Vec<Agent> = start();
    api.await_verified(&world);

    let (outside, node_port) = (world.outside(), format!("{}:{NODE_PORT}", a.address));
    let crowds = [
        client.place().crowd("tcp", "10.96.1.1:80", CROWD),
        outside.crowd("tcp", &node_port, CROWD),
    ];
    let visits = [client.place().visit("tcp", "10.96.1.1:80"), outside.visit("tcp", &node_port)];
    let length = length("SKEP_AWAY_SECONDS", SECONDS);
    for absence in [
        Absence { replaced: ["first", "second", "10.96.1.3"], forgets: false, kills: false },
        Absence { replaced: ["second", "third", "10.96.1.4"], forgets: true, kills: false },
        Absence { replaced: ["third", "fourth", "10.96.1.5"], forgets: true, kills: true },
    ] {
        let [goes, comes, address] = absence.replaced;
        api.go_away();
        api.delete(SERVICES, goes);
        api.delete(SLICES, goes);
        service(&api, comes, address);
        slice(&api, comes, &[&new]);
        // Another endpoint joins, so that held connections stay where they are.
        api.merge(SLICES, "stays", &json!({ "endpoints": endpoints(&[&old, &new]) }));
        if absence.kills {
            agents.clear();
            agents = start();
        }
        std::thread::sleep(length);
        let names = |node: &Node| node.net(&["services"]);
        // Nobody could tell that it is gone. Names for the tools come a little after the tables.
        wait_for("the one that is gone to be served still", || {
            let known = names(a);
            if known.contains(&format!("default/{goes}")) { Ok(()) } else { Err(known) }
        });
        if absence.forgets {
            api.forget_history();
        }
        api.come_back();
        api.await_verified(&world);
        for node in world.nodes() {
            // A new agent leaves the names for the tools a little later.
            wait_for("the one in the place of the other", || {
                let known = names(node);
                let has = |name: &str| known.contains(&format!("default/{name}"));
                if has(comes) && !has(goes) { Ok(()) } else { Err(known) }
            });
        }
        let answer = client.place().ask("tcp", &format!("{address}:80")).expect("served");
        assert_eq!(answer.server, "new");
    }
    for crowd in crowds {
        assert!(crowd.stop().expect("every connection lives") > 0);
    }
    for visits in visits {
        let visits = visits.stop().expect("every visit is answered");
        assert!(visits.iter().any(|visit| visit.server == "new"), "{} visits", visits.len());
    }
}
