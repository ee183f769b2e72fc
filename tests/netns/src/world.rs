//! A network of namespaces and its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use skep_network::topology::Routing;

use crate::command::{ip, run, try_ip, try_run};
use crate::node::Node;
use crate::probe::Place;

const PREFIX: &str = "skept";
/// Where each world has a folder: state of its nodes, and a BPF file system of its own.
const RUN: &str = "/run";

/// Two nodes on a switch and an outside that is their default gateway.
///
/// ```text
///   pods -- node a (192.0.2.10) --+
///                                 +-- switch -- outside (192.0.2.1)
///   pods -- node b (192.0.2.11) --+
/// ```
pub struct World {
    // Dropped first: nodes end their pods' processes.
    nodes: Vec<Node>,
    guard: Guard,
}

/// Removes what a world has made.
struct Guard {
    name: String,
    cgroup_root: PathBuf,
}

impl World {
    /// Builds a world whose nodes reach each other in this way.
    pub fn new(routing: Routing) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
        assert!(root, "namespaces need root: run `cargo xtask test` as root");
        let cgroup_root = cgroup2_root();
        remove_leftovers(&cgroup_root);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}x{count}", std::process::id());
        let guard = Guard { name: name.clone(), cgroup_root: cgroup_root.clone() };
        let folder = Path::new(RUN).join(&name);
        std::fs::create_dir_all(folder.join("bpf")).expect("/run is writable");
        run("mount", &["-t", "bpf", "bpf", &folder.join("bpf").to_string_lossy()]);

        let switch = format!("{name}-switch");
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add bridge type bridge"));
        ip(&format!("-n {switch} link set bridge up"));
        plug(&name, "out", "192.0.2.1/24");
        let mut world = Self { nodes: Vec::new(), guard };
        for (short, address, range) in
            [("a", "192.0.2.10", "10.244.0.0/24"), ("b", "192.0.2.11", "10.244.1.0/24")]
        {
            plug(&name, short, &format!("{address}/24"));
            ip(&format!("-n {name}-{short} route add default via 192.0.2.1"));
            let node = Node::new(
                &name,
                short,
                address.parse().expect("an address"),
                range.parse().expect("a range"),
                routing,
                &folder,
                &cgroup_root,
            );
            world.nodes.push(node);
        }
        world.start_agents();
        world
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

    /// A host that is not part of the cluster.
    pub fn outside(&self) -> Place {
        Place { namespace: format!("{}-out", self.guard.name), cgroup: None }
    }
}

impl Drop for World {
    /// What the datapath counted is the first thing to look at when a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                for (hook, reason, counter) in node.counters() {
                    let (hook, reason) = (hook.name(), reason.name());
                    eprintln!("node {}: {hook}: {reason}: {} packets", node.name, counter.packets);
                }
            }
        }
    }
}

/// Makes a namespace with a device `eth0` on the switch.
fn plug(world: &str, short: &str, address: &str) {
    let (namespace, switch) = (format!("{world}-{short}"), format!("{world}-switch"));
    ip(&format!("netns add {namespace}"));
    ip(&format!(
        "-n {switch} link add name port-{short} type veth peer name eth0 netns {namespace}"
    ));
    ip(&format!("-n {switch} link set port-{short} master bridge up"));
    ip(&format!("-n {namespace} link set lo up"));
    ip(&format!("-n {namespace} addr add {address} dev eth0"));
    ip(&format!("-n {namespace} link set eth0 up"));
}

impl Drop for Guard {
    fn drop(&mut self) {
        remove(&self.name, &self.cgroup_root);
    }
}

/// Removes everything whose name begins so.
fn remove(name: &str, cgroup_root: &Path) {
    for folder in entries(Path::new(RUN), name) {
        // Programs and tables end with the last pin.
        try_run("umount", &[&folder.join("bpf").to_string_lossy()]);
        let _ = std::fs::remove_dir_all(folder);
    }
    for namespace in entries(Path::new("/run/netns"), name) {
        let namespace = namespace.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = try_ip(&format!("netns delete {namespace}"));
    }
    for folder in entries(cgroup_root, name) {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Removes what test processes that are no more have left.
fn remove_leftovers(cgroup_root: &Path) {
    for folder in [Path::new("/run/netns"), Path::new(RUN), cgroup_root] {
        for path in entries(folder, PREFIX) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rest = &file[PREFIX.len()..];
            let Some((pid, _)) = rest.split_once('x') else { continue };
            if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
                remove(&format!("{PREFIX}{pid}x"), cgroup_root);
            }
        }
    }
}

fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

fn cgroup2_root() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc is mounted");
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields.find(|fields| fields.get(2) == Some(&"cgroup2")).expect("a cgroup2 tree");
    PathBuf::from(mount[1])
}
