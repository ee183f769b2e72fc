//! Tables with less room than the load asks for: who has a connection keeps it, and when the load ends
//! there is room again.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use skep_abi::{Hook, PortRange, Reason};
use skep_bpf::{Sizes, Timeouts};
use skep_netns_tests::{Node, Pod, Services, World, wait_for};
use skep_network::topology::Routing;

const NODE_PORT: u16 = 30_001;
/// What is closed goes at once.
const NOW: Timeouts = Timeouts { tcp_s: 6 * 3600, tcp_closed_s: 0, datagram_s: 120, echo_s: 30 };
fn sizes() -> Sizes {
    Sizes { flows: 256, embryos: 1024, sources: 16, ..Sizes::for_memory(0) }
}

fn serve<'a>(node: &'a Node, remote: (&Pod, &Node)) -> Services<'a> {
    let port = json!({ "name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "TCP" });
    let spec = json!({ "type": "NodePort", "clusterIP": "10.96.0.1", "ports": [port] });
    let mut services = Services::start(node);
    services.service("web", &spec).endpoints("web", 8080, "TCP", &[remote]).sync();
    services
}

/// Does something while what is closed goes at once.
fn while_swept<R>(node: &Node, work: impl FnOnce() -> R) -> R {
    /// Says that the work is over, however it ended.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                node.sweep(&NOW);
            }
        });
        work()
    })
}

/// How many packets the node's device hook counted under a reason.
fn counted(node: &Node, reason: Reason) -> u64 {
    node.tables().counters.get(Hook::NodeIngress, reason).expect("read").packets
}

/// Entries of `flows4` and `snat4`.
fn entries(node: &Node) -> (usize, usize) {
    let tables = node.tables().v4;
    let flows = tables.flows.entries().expect("read");
    (flows.len(), tables.snat.entries().expect("read").len())
}

/// Waits until so many entries are left when what is closed is gone.
fn until_swept(node: &Node, left: (usize, usize)) {
    wait_for("what is closed to be gone", || {
        node.sweep(&NOW);
        match entries(node) {
            found if found == left => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn established_connections_live_on_when_flows_are_full() {
    let world = World::with_sizes(Routing::Direct, &sizes());
    let (a, b) = (world.a(), world.b());
    let remote = b.pod("remote");
    let _server = remote.place().serve(8080, "remote");
    let services = serve(a, (&remote, b));
    let (outside, node_port) = (world.outside(), format!("{}:{NODE_PORT}", a.address));
    let held = outside.crowd("tcp", &node_port, 200);
    assert_eq!(entries(a), (200, 200));

    let rush = outside.rush(&node_port, 1000);
    let all = sizes().flows as usize;
    wait_for("full tables", || match entries(a) {
        full if full == (all, all) => Ok(()),
        others => Err(format!("{others:?}, {:?}", a.drops())),
    });
    drop(rush);
    held.stop().expect("who was there first stays");

    until_swept(a, (0, 0));
    // Servers still answer what the rush asked, which takes a place for a moment.
    let fresh = while_swept(a, || outside.crowd("tcp", &node_port, 200));
    until_swept(a, (200, 200));
    fresh.stop().expect("and live");
    assert_eq!(services.verify(), []);
}

/// Fewer ports than connections.
fn few_ports(node: &Node) {
    let ports = PortRange { min: 10_000, max: 10_060 };
    node.tables().update_config(|config| config.snat_ports = ports).expect("written");
}

#[test]
fn connections_that_find_no_port_are_refused_until_others_end() {
    let world = World::with_sizes(Routing::Direct, &sizes());
    let (a, b) = (world.a(), world.b());
    let remote = b.pod("remote");
    let _server = remote.place().serve(8080, "remote");
    let services = serve(a, (&remote, b));
    few_ports(a);
    let (outside, node_port) = (world.outside(), format!("{}:{NODE_PORT}", a.address));
    let held = outside.crowd("tcp", &node_port, 32);

    let rush = outside.rush(&node_port, 100);
    wait_for("the last port", || match counted(a, Reason::SnatPortsExhausted) {
        0 => Err(format!("{:?}, {:?}", entries(a), a.drops())),
        _ => Ok(()),
    });
    drop(rush);
    held.stop().expect("who was there first stays");

    until_swept(a, (0, 0));
    outside.crowd("tcp", &node_port, 32).stop().expect("new ones find a port again");
    assert_eq!(services.verify(), []);
}

#[test]
fn clients_beyond_what_affinity_remembers_are_served_all_the_same() {
    let world = World::with_sizes(Routing::Direct, &sizes());
    let (a, b) = (world.a(), world.b());
    let pods = ["one", "two", "three"].map(|name| b.pod(name));
    let _servers = pods.each_ref().map(|pod| pod.place().serve(8080, pod.name()));
    let endpoints: Vec<_> = pods.iter().map(|pod| (pod, b)).collect();
    let client = a.pod("client");
    let mut services = Services::start(a);
    // A client of many Services is as many clients.
    let address = |number: u32| format!("10.96.1.{number}");
    for number in 1..=4 * sizes().sources {
        let port = json!({ "name": "http", "port": 80, "protocol": "TCP" });
        let spec = json!({
            "clusterIP": address(number), "sessionAffinity": "ClientIP", "ports": [port],
        });
        let name = format!("sticky-{number}");
        services.service(&name, &spec).endpoints(&name, 8080, "TCP", &endpoints);
    }
    services.sync();
    let ask = |number| {
        let address = format!("{}:80", address(number));
        client.place().ask("tcp", &address).unwrap_or_else(|error| panic!("{address}: {error}"))
    };
    for number in 1..=4 * sizes().sources {
        let first = ask(number).server;
        assert_eq!(ask(number).server, first, "who was seen last is remembered");
    }
    let bonds = a.tables().v4.sources.entries().expect("read").len();
    assert!(bonds <= sizes().sources as usize, "{bonds} clients");
    assert_eq!(a.drops(), []);
    assert_eq!(services.verify(), []);
}
