//! A network of namespaces and its end.

use skep_bpf::Sizes;
use skep_network::topology::Routing;

use crate::command::ip;
use crate::guard::Guard;
use crate::node::{Node, host_address, host_address6};
use crate::probe::Place;

const PREFIX: &str = "skept";
/// The outside's number on the switch.
const OUTSIDE: u8 = 1;
/// How much of what agents said is shown when a test fails.
const LAST_LINES: usize = 20;

/// Two nodes on a switch and an outside that is their default gateway.
///
/// ```text
///   pods -- node a (192.0.2.10, 2001:db8::a) --+
///                                              +-- switch -- outside (192.0.2.1, 2001:db8::1)
///   pods -- node b (192.0.2.11, 2001:db8::b) --+
/// ```
pub struct World {
    // Dropped first: nodes end their pods' processes.
    nodes: Vec<Node>,
    guard: Guard,
}

impl World {
    /// Builds a world whose nodes reach each other in this way.
    pub fn new(routing: Routing) -> Self {
        let world = Self::without_agents(routing);
        world.start_agents();
        world
    }

    /// The same, with tables of these sizes on its nodes.
    pub fn with_sizes(routing: Routing, sizes: &Sizes) -> Self {
        let world = Self::without_agents(routing);
        for node in &world.nodes {
            node.make_tables(sizes);
        }
        world.start_agents();
        world
    }

    fn without_agents(routing: Routing) -> Self {
        let guard = Guard::new(PREFIX);
        let (name, folder) = (guard.name().to_owned(), guard.folder());

        let switch = format!("{name}-switch");
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add bridge type bridge"));
        ip(&format!("-n {switch} link set bridge up"));
        plug(&name, "out", OUTSIDE);
        let mut nodes = Vec::new();
        for (short, number) in [("a", 10), ("b", 11)] {
            plug(&name, short, number);
            for gateway in [host_address(OUTSIDE), host_address6(OUTSIDE)] {
                ip(&format!("-n {name}-{short} route add default via {gateway}"));
            }
            nodes.push(Node::new(&name, short, number, routing, &folder, guard.cgroup(short)));
        }
        Self { nodes, guard }
    }

    /// Starts, or starts again, what an agent does on each node: every handle is new, every table and
    /// program found.
    pub fn start_agents(&self) {
        for (node, peer) in [(0, 1), (1, 0)] {
            self.nodes[node].start_agent(&self.nodes[peer]);
        }
    }

    /// The first node.
    pub fn a(&self) -> &Node {
        &self.nodes[0]
    }

    /// The second node.
    pub fn b(&self) -> &Node {
        &self.nodes[1]
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Makes a host that packets of more than `mtu` bytes do not get to, although it and everybody else
    /// believes in 1500: a router behind the outside has the narrow link.
    ///
    /// ```text
    ///   outside (198.51.100.1) --narrow-- (198.51.100.2) router (203.0.113.1) -- far (203.0.113.2)
    /// ```
    pub fn far(&self, mtu: u32) -> Place {
        let name = self.guard.name();
        let (out, router, far) =
            (format!("{name}-out"), format!("{name}-rtr"), format!("{name}-far"));
        for namespace in [&router, &far] {
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        link((&out, "narrow", "198.51.100.1/24"), (&router, "narrow", "198.51.100.2/24"), mtu);
        link((&router, "wide", "203.0.113.1/24"), (&far, "eth0", "203.0.113.2/24"), 1500);
        ip(&format!("-n {out} route add 203.0.113.0/24 via 198.51.100.2"));
        ip(&format!("-n {router} route add default via 198.51.100.1"));
        ip(&format!("-n {far} route add default via 203.0.113.1"));
        for namespace in [&out, &router] {
            ip(&format!("netns exec {namespace} sysctl -qw net.ipv4.ip_forward=1"));
        }
        Place::new(&far, None)
    }

    /// Where state of the world lies.
    pub fn folder(&self) -> std::path::PathBuf {
        self.guard.folder()
    }

    /// A host that is not part of the cluster.
    pub fn outside(&self) -> Place {
        Place::new(&format!("{}-out", self.guard.name()), None)
    }
}

impl Drop for World {
    /// What the datapath counted and the agents said is the first thing to look at when a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = std::fs::read_to_string(node.agent_log()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
                    eprintln!("node {}: agent: {line}", node.name);
                }
                for (hook, reason, counter) in node.counters() {
                    let (hook, reason) = (hook.name(), reason.name());
                    eprintln!("node {}: {hook}: {reason}: {} packets", node.name, counter.packets);
                }
            }
        }
    }
}

/// Connects two namespaces by devices with these names and addresses.
fn link(one: (&str, &str, &str), other: (&str, &str, &str), mtu: u32) {
    let (namespace, device, _) = one;
    let (peer_namespace, peer, _) = other;
    ip(&format!(
        "-n {namespace} link add name {device} mtu {mtu} type veth \
         peer name {peer} mtu {mtu} netns {peer_namespace}"
    ));
    for (namespace, device, address) in [one, other] {
        ip(&format!("-n {namespace} addr add {address} dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
}

/// Makes a namespace with a device `eth0` on the switch.
fn plug(world: &str, short: &str, number: u8) {
    let (namespace, switch) = (format!("{world}-{short}"), format!("{world}-switch"));
    ip(&format!("netns add {namespace}"));
    ip(&format!(
        "-n {switch} link add name port-{short} type veth peer name eth0 netns {namespace}"
    ));
    ip(&format!("-n {switch} link set port-{short} master bridge up"));
    ip(&format!("-n {namespace} link set lo up"));
    ip(&format!("-n {namespace} addr add {}/24 dev eth0", host_address(number)));
    // Used at once, without asking whether somebody else has it.
    ip(&format!("-n {namespace} addr add {}/64 dev eth0 nodad", host_address6(number)));
    ip(&format!("-n {namespace} link set eth0 up"));
}
