//! A small network of namespaces around the node under test.
//!
//! ```text
//!   near, nearother, client -- node1 --+
//!                                      +-- switch -- gateway (API server, balancer)
//!   far, farother, farclient - node2 --+      +----- outside
//! ```
//!
//! Only node1 has a service proxy: Services' addresses are routed to it, from wherever they are asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use skep_netns_tests::command::ip;
use skep_netns_tests::{Guard, Place};
use skep_network::namespace::Namespace;

use crate::plan;
use crate::shape::Spot;
use crate::terms::{Family, Sender};

/// The pods of each node, in the order in which they get their addresses.
const PODS: [(u8, [&str; 3]); 2] =
    [(1, ["near", "nearother", "client"]), (2, ["far", "farother", "farclient"])];

/// A process that ends with its world.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespaces and what runs in them.
#[derive(Debug)]
pub(crate) struct World {
    // Dropped first: nothing may use a namespace that is deleted.
    processes: Vec<Process>,
    cgroup: PathBuf,
    pods: BTreeMap<String, Vec<IpAddr>>,
    guard: Guard,
}

impl World {
    /// Hosts and their wires; no pods yet.
    pub(crate) fn new() -> Self {
        let guard = Guard::new("skepi");
        let cgroup = guard.cgroup("node1");
        let world = Self { processes: Vec::new(), cgroup, pods: BTreeMap::new(), guard };
        let switch = world.namespace("switch");
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add bridge type bridge"));
        ip(&format!("-n {switch} link set bridge up"));
        let hosts = [
            ("gateway", plan::GATEWAY),
            ("outside", plan::OUTSIDE),
            ("node1", plan::NODE1),
            ("node2", plan::NODE2),
        ];
        for (host, number) in hosts {
            world.plug(host, number);
        }
        for family in Family::ALL {
            world.route(family);
        }
        world
    }

    fn namespace(&self, short: &str) -> String {
        format!("{}-{short}", self.guard.name())
    }

    /// The folder of what its processes keep.
    pub(crate) fn folder(&self) -> PathBuf {
        self.guard.folder()
    }

    /// The control group of node1 and its pods.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Where processes of a host or pod run.
    pub(crate) fn place(&self, short: &str) -> Place {
        let near = short == "node1" || PODS[0].1.contains(&short);
        Place::new(&self.namespace(short), near.then_some(&*self.cgroup))
    }

    /// Runs a function inside of a host's or pod's network.
    pub(crate) fn inside<T: Send>(
        &self,
        short: &str,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let file = Path::new("/run/netns").join(self.namespace(short));
        Namespace::open(&file)?.run(work)?
    }

    fn plug(&self, short: &str, number: u16) {
        let (host, switch) = (self.namespace(short), self.namespace("switch"));
        ip(&format!("netns add {host}"));
        self.settle(short);
        let peer = format!("type veth peer name eth0 netns {host}");
        ip(&format!("-n {switch} link add p-{short} {peer}"));
        ip(&format!("-n {switch} link set p-{short} master bridge up"));
        ip(&format!("-n {host} link set lo up"));
        ip(&format!("-n {host} link set eth0 up"));
        for family in Family::ALL {
            let mut numbers = vec![number];
            if short == "node1" {
                numbers.push(plan::NODE1_SECOND);
            }
            // The kernel prefers the oldest address of IPv4 and the newest of IPv6.
            if family == Family::V6 {
                numbers.reverse();
            }
            for number in numbers {
                let net = plan::host_net(number, family);
                ip(&format!("-n {host} addr add {net} dev eth0{}", at_once(family)));
            }
        }
    }

    /// Routing without surprises: forwarding, asymmetric ways, and every refusal told.
    fn settle(&self, short: &str) {
        let settings = [
            ("ipv4/ip_forward", if short.starts_with("node") { "1" } else { "0" }),
            ("ipv6/conf/all/forwarding", if short.starts_with("node") { "1" } else { "0" }),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
            ("ipv4/icmp_ratemask", "0"),
            ("ipv6/icmp/ratelimit", "0"),
            // The limit of the whole namespace is for these types: for none that is in use.
            ("ipv6/icmp/ratemask", "250"),
            ("ipv6/conf/default/accept_dad", "0"),
        ];
        let write = || {
            for (name, value) in settings {
                std::fs::write(Path::new("/proc/sys/net").join(name), value)
                    .with_context(|| format!("cannot set {name}"))?;
            }
            Ok(())
        };
        self.inside(short, write).expect("a new namespace's settings can be written");
    }

    fn route(&self, family: Family) {
        let via = |number| plan::host(number, family);
        let add = |short: &str, range: &str, number| {
            let host = self.namespace(short);
            ip(&format!("-n {host} route add {range} via {}", via(number)));
        };
        for range in plan::routed_to_node1(family) {
            add("outside", range, plan::NODE1);
            add("node2", range, plan::NODE1);
        }
        add("outside", plan::proxy_range(family), plan::GATEWAY);
        for node in ["node1", "node2"] {
            add(node, "default", plan::GATEWAY);
        }
        for host in ["gateway", "outside"] {
            add(host, &plan::pod_range(1, family), plan::NODE1);
            add(host, &plan::pod_range(2, family), plan::NODE2);
        }
        add("node2", &plan::pod_range(1, family), plan::NODE1);
        let gateway = self.namespace("gateway");
        ip(&format!("-n {gateway} route add local {} dev lo", plan::proxy_range(family)));
    }

    /// Pods of node2, wired by hand.
    pub(crate) fn plain_far_pods(&mut self) {
        self.plain_pods(1);
    }

    /// Pods of node1, wired by hand, for a proxy that works on any pod network.
    pub(crate) fn plain_near_pods(&mut self) {
        self.plain_pods(0);
        for family in Family::ALL {
            let (range, via) = (plan::pod_range(2, family), plan::host(plan::NODE2, family));
            ip(&format!("-n {} route add {range} via {via}", self.namespace("node1")));
        }
    }

    fn plain_pods(&mut self, node: usize) {
        let (number, pods) = PODS[node];
        let host = self.namespace(&format!("node{number}"));
        for (pod, short) in (2..).zip(pods) {
            let namespace = self.namespace(short);
            ip(&format!("netns add {namespace}"));
            self.settle(short);
            ip(&format!("-n {host} link add v-{short} type veth peer name eth0 netns {namespace}"));
            for end in [format!("{host} link set v-{short}"), format!("{namespace} link set eth0")]
            {
                ip(&format!("-n {end} up"));
            }
            ip(&format!("-n {namespace} link set lo up"));
            for family in Family::ALL {
                let bits = if family == Family::V4 { 32 } else { 128 };
                let (gateway, address) =
                    (plan::pod(number, 1, family), plan::pod(number, pod, family));
                let dad = at_once(family);
                ip(&format!("-n {host} addr add {gateway}/{bits} dev v-{short}{dad}"));
                ip(&format!("-n {namespace} addr add {address}/{bits} dev eth0{dad}"));
                ip(&format!("-n {namespace} route add {gateway} dev eth0"));
                ip(&format!("-n {namespace} route add default via {gateway} dev eth0"));
                ip(&format!("-n {host} route add {address} dev v-{short}"));
                self.pods.entry(short.to_owned()).or_default().push(address);
            }
        }
    }

    /// Pods of node1, wired by a network plugin: `attach` is given the namespace's name and tells the
    /// pod's addresses.
    pub(crate) fn near_pods(
        &mut self,
        attach: impl Fn(&Self, &str) -> Result<Vec<IpAddr>>,
    ) -> Result<()> {
        for short in PODS[0].1 {
            let namespace = self.namespace(short);
            ip(&format!("netns add {namespace}"));
            self.settle(short);
            let addresses = attach(self, &namespace)?;
            self.pods.insert(short.to_owned(), addresses);
        }
        Ok(())
    }

    /// Starts a process that ends with this world; what it prints goes to a file in [`World::folder`].
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = std::fs::File::create(self.log(name))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.processes.push(Process(child));
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.log"))
    }

    /// The last lines that a process printed.
    pub(crate) fn tail(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Starts a server in every place that answers, and waits until each listens.
    pub(crate) fn serve(&mut self) -> Result<()> {
        let own = std::env::current_exe()?;
        let mut servers: Vec<(&str, Vec<SocketAddr>)> = Vec::new();
        for spot in Spot::ALL {
            let own = |family| self.endpoint(spot, family).map(|ip| (ip, plan::TARGET_PORT).into());
            let addresses = Family::ALL.into_iter().filter_map(own).collect();
            servers.push((plan::endpoint_namespace(spot), addresses));
        }
        servers.push(("gateway", vec![(Ipv6Addr::UNSPECIFIED, plan::PORT).into()]));
        for (short, addresses) in servers {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let words = ["serve", short].into_iter().chain(addresses.iter().map(String::as_str));
            let words: Vec<&str> = words.collect();
            let mut command = self.place(short).command(&own, &words);
            let mut child =
                command.stdout(Stdio::piped()).spawn().context("cannot start a server")?;
            let output = child.stdout.take().context("a pipe was asked for")?;
            self.processes.push(Process(child));
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            ensure!(line.trim() == "ready", "the server in {short} did not start");
        }
        Ok(())
    }

    /// The addresses of a host or pod, of both families.
    pub(crate) fn addresses(&self, short: &str) -> Vec<IpAddr> {
        let of = |numbers: &[u16]| {
            let each = |family| numbers.iter().map(move |&number| plan::host(number, family));
            Family::ALL.into_iter().flat_map(each).collect()
        };
        match short {
            "gateway" => of(&[plan::GATEWAY]),
            "outside" => of(&[plan::OUTSIDE]),
            "node1" => {
                let ends = Family::ALL.map(|family| plan::pod(1, 1, family));
                let mut all: Vec<IpAddr> = of(&[plan::NODE1, plan::NODE1_SECOND]);
                all.extend(ends);
                all
            }
            "node2" => {
                let ends = Family::ALL.map(|family| plan::pod(2, 1, family));
                let mut all: Vec<IpAddr> = of(&[plan::NODE2]);
                all.extend(ends);
                all
            }
            pod => self.pods.get(pod).cloned().unwrap_or_default(),
        }
    }

    /// The address that an endpoint is listed with.
    pub(crate) fn endpoint(&self, spot: Spot, family: Family) -> Option<IpAddr> {
        let all = self.addresses(plan::endpoint_namespace(spot));
        all.into_iter().find(|address| Family::of(*address) == family)
    }

    /// Where a sender asks from.
    pub(crate) fn sender(&self, sender: Sender) -> Place {
        self.place(plan::namespace(sender))
    }
}

/// Addresses are used at once, without asking whether somebody else has them.
fn at_once(family: Family) -> &'static str {
    if family == Family::V6 { " nodad" } else { "" }
}
