//! An agent that is killed again and again, at whatever moment, is noticed by nobody.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep_netns_tests::api::{Api, SERVICES, SLICES};
use skep_netns_tests::load::{Load, Target};
use skep_netns_tests::{Agent, World, length};
use skep_network::topology::Routing;

/// How long agents are killed. A minute of it: `SKEP_KILL_SECONDS=60`.
const SECONDS: u64 = 8;
/// An agent lives for up to this long: enough to load programs, fill tables and follow changes.
const LIFE_MS: u64 = 1000;
/// Services that change all the time, so that every agent finds something to write.
const BYSTANDERS: usize = 100;
/// Those that change between two kills.
const CHANGES: usize = 20;

/// The endpoints of a bystander: addresses that nobody has, others with every version.
fn bystander_endpoints(version: usize) -> Value {
    let address = |number: usize| format!("10.244.1.{}", 100 + (version * 3 + number) % 100);
    (0..3).map(|number| json!({ "addresses": [address(number)], "nodeName": "b" })).collect()
}

fn write_bystanders(api: &Api) {
    for number in 0..BYSTANDERS {
        let name = format!("bystander-{number}");
        let port = json!({ "name": "http", "port": 80 });
        api.create(SERVICES, &json!({ "metadata": { "name": name }, "spec": { "ports": [port] } }));
        let labels = json!({ "kubernetes.io/service-name": name });
        let slice = json!({
            "metadata": { "name": name, "labels": labels }, "addressType": "IPv4",
            "endpoints": bystander_endpoints(number), "ports": [{ "name": "http", "port": 8080 }],
        });
        api.create(SLICES, &slice);
    }
}

#[test]
fn killing_the_agent_loses_no_packet_and_no_connection() {
    let world = World::new(Routing::Auto);
    let api = Api::start(&world);
    let target = Target::new(&world, &api);
    write_bystanders(&api);
    let start = |node: usize| world.nodes()[node].agent(&api.kubeconfig());
    let mut agents: [Option<Agent>; 2] = [Some(start(0)), Some(start(1))];
    api.await_verified(&world);

    let load = Load::start(&world, &target);
    let length = length("SKEP_KILL_SECONDS", SECONDS);
    let (begin, mut kills) = (Instant::now(), 0);
    while begin.elapsed() < length {
        for number in 0..CHANGES {
            let version = kills * CHANGES + number;
            let name = format!("bystander-{}", version % BYSTANDERS);
            api.merge(SLICES, &name, &json!({ "endpoints": bystander_endpoints(version) }));
        }
        // Steps of the golden ratio hit every part of an agent's life.
        std::thread::sleep(Duration::from_millis(kills as u64 * 618 % LIFE_MS));
        let node = kills % 2;
        drop(agents[node].take());
        agents[node] = Some(start(node));
        kills += 1;
    }
    let answers = load.stop();
    api.await_verified(&world);
    println!("{kills} kills in {} s: {answers:?}", length.as_secs());
    for node in world.nodes() {
        let drops = node.drops();
        assert!(drops.is_empty(), "node {} dropped packets: {drops:?}", node.name);
    }
}
