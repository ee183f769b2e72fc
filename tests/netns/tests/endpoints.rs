//! Endpoints that come and go hundreds of times a second, under traffic.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep_bpf::monotonic_ns;
use skep_netns_tests::api::{Api, SERVICES, SLICES};
use skep_netns_tests::{Place, Pod, Visit, World, length};
use skep_network::topology::Routing;

/// How long they change. A minute of it: `SKEP_CHURN_SECONDS=60`.
const SECONDS: u64 = 8;
/// Changes in a second.
const RATE: u32 = 200;
/// Ready endpoints: for each one more that comes, the oldest becomes a terminating one.
const READY: usize = 4;
/// Endpoints that come while one terminates: 3 to 5 s of changes. Then it is gone.
const TERMINATING: usize = 333;
/// Every endpoint is a port of its own, so that an answer tells which one gave it.
const FIRST_PORT: u16 = 2_000;

const CLUSTER_IP: &str = "10.96.1.1";
const NODE_PORT: u16 = 30_001;

const SERVICE: &str = "busy";
/// Names of the ports, and their protocols.
const PROTOCOLS: [(&str, &str); 2] = [("tcp", "TCP"), ("udp", "UDP")];

/// A datagram from a port that was used before belongs to the flow that it has, and to its endpoint until
/// that is gone.
fn keeps_flows(who: &str, protocol: &str) -> bool {
    (who, protocol) == ("outside", "udp")
}

/// The name of an endpoint's slice.
fn name(number: usize) -> String {
    format!("{SERVICE}-{number}")
}

/// The endpoints and when they were what.
struct Endpoints<'a> {
    api: &'a Api,
    /// Pods that have every port, and their nodes.
    pods: [(&'a Pod, &'static str); 2],
    /// How many have come.
    born: usize,
    /// How many of these are terminating or gone.
    ended: usize,
    /// When each was gone, in nanoseconds, as far as any was.
    gone: Vec<u64>,
}

impl Endpoints<'_> {
    fn endpoints(&self, number: usize, ready: bool) -> Value {
        let (pod, node) = self.pods[number % self.pods.len()];
        let conditions = json!({ "ready": ready, "serving": true, "terminating": !ready });
        json!([{ "addresses": [pod.address], "nodeName": node, "conditions": conditions }])
    }

    fn add(&mut self) {
        let port = usize::from(FIRST_PORT) + self.born;
        let ports = PROTOCOLS
            .map(|(name, protocol)| json!({ "name": name, "port": port, "protocol": protocol }));
        let labels = json!({ "kubernetes.io/service-name": SERVICE });
        let slice = json!({
            "metadata": { "name": name(self.born), "labels": labels },
            "addressType": "IPv4", "endpoints": self.endpoints(self.born, true), "ports": ports,
        });
        self.api.create(SLICES, &slice);
        self.born += 1;
    }

    /// Makes the oldest ready one a terminating one.
    fn terminate(&mut self) {
        let patch = json!({ "endpoints": self.endpoints(self.ended, false) });
        self.api.merge(SLICES, &name(self.ended), &patch);
        self.ended += 1;
    }

    /// Removes the one that has terminated for the longest time.
    fn remove(&mut self) {
        self.api.delete(SLICES, &name(self.gone.len()));
        self.gone.push(monotonic_ns());
    }

    /// One more comes, else one goes the next step on its way out.
    fn change(&mut self) {
        if self.ended - self.gone.len() > TERMINATING {
            self.remove();
        } else if self.born - self.ended > READY {
            self.terminate();
        } else {
            self.add();
        }
    }

    /// Every answer is of an endpoint that was not gone yet when it was asked for. Where each visit is a
    /// connection of its own, none is of an endpoint that had been replaced in a state of the tables that
    /// was seen before.
    fn judge(&self, who: &str, protocol: &str, visits: &[Visit]) -> usize {
        let mut newest = 0;
        // What datagrams follow is cut a moment after its endpoint is gone: here, a second of changes.
        let keeps_flows = keeps_flows(who, protocol);
        let moment = if keeps_flows { RATE as usize / 3 } else { 0 };
        let mut seen = std::collections::BTreeSet::new();
        for visit in visits {
            let port: usize = visit.server.parse().expect("a port");
            let number = port - usize::from(FIRST_PORT);
            assert!(number < self.born, "{who}: {port} was never an endpoint");
            let stale = self.gone.get(number + moment).is_some_and(|gone| *gone < visit.began_ns);
            assert!(!stale, "{who}: endpoint {number} answered after it was gone");
            assert!(
                keeps_flows || number + READY >= newest,
                "{who}: endpoint {number} answered, after {newest} had answered"
            );
            newest = newest.max(number);
            seen.insert(number);
        }
        seen.len()
    }
}

#[test]
fn endpoints_that_change_all_the_time_answer_and_none_is_refused() {
    let world = World::new(Routing::Auto);
    let api = Api::start(&world);
    let (client, near, far) =
        (world.a().pod("client"), world.a().pod("near"), world.b().pod("far"));
    let changes = length("SKEP_CHURN_SECONDS", SECONDS).as_secs() as u32 * RATE;
    let count =
        u16::try_from(changes as usize / 2 + READY + 1).expect("fewer than there are ports");
    let ports = FIRST_PORT..FIRST_PORT + count;
    let _servers = [near.place().serve_ports(ports.clone()), far.place().serve_ports(ports)];
    let front = PROTOCOLS.map(|(name, protocol)| {
        json!({ "name": name, "protocol": protocol, "port": 80, "nodePort": NODE_PORT })
    });
    let spec = json!({ "type": "NodePort", "clusterIP": CLUSTER_IP, "ports": front });
    api.create(SERVICES, &json!({ "metadata": { "name": SERVICE }, "spec": spec }));
    let pods = [(&near, "a"), (&far, "b")];
    let mut endpoints = Endpoints { api: &api, pods, born: 0, ended: 0, gone: Vec::new() };
    (0..READY).for_each(|_| endpoints.add());
    let agents: Vec<_> = world.nodes().iter().map(|node| node.agent(&api.kubeconfig())).collect();
    api.await_verified(&world);

    let outside = world.outside();
    let node_port = format!("{}:{NODE_PORT}", world.a().address);
    let cluster = format!("{CLUSTER_IP}:80");
    let askers: [(&str, &Place, &str, &str); 5] = [
        ("pod", client.place(), "tcp", &cluster),
        ("pod", client.place(), "udp", &cluster),
        ("node", world.a().host(), "tcp", &cluster),
        ("outside", &outside, "tcp", &node_port),
        ("outside", &outside, "udp", &node_port),
    ];
    let visits = askers.map(|(_, place, protocol, address)| place.visit(protocol, address));
    let begin = Instant::now();
    for number in 0..changes {
        endpoints.change();
        let due = Duration::from_secs(1) / RATE * (number + 1);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    let took = begin.elapsed().as_secs_f64();
    api.await_verified(&world);
    println!("{changes} changes in {took:.1} s, {} endpoints in all", endpoints.born);
    for ((who, _, protocol, _), visits) in askers.iter().zip(visits) {
        let visits = visits.stop().unwrap_or_else(|error| panic!("{who}, {protocol}: {error}"));
        let seen = endpoints.judge(who, protocol, &visits);
        println!("{who}, {protocol}: {} visits, answered by {seen} endpoints", visits.len());
    }
    for (who, place, protocol, address) in askers {
        let answer = place.ask(protocol, address);
        let answer = answer.unwrap_or_else(|error| panic!("{who}, {protocol}: {error}"));
        let number = usize::from(answer.server.parse::<u16>().expect("a port") - FIRST_PORT);
        let is_ready = number + READY + 1 >= endpoints.born;
        assert!(is_ready || keeps_flows(who, protocol), "{who}: {number} answered in the end");
    }
    drop(agents);
}
