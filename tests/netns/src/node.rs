//! A node and its pods.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};
use skep_abi::{Counter, Hook, Reason};
use skep_bpf::{Datapath, Sizes, Tables, Timeouts};
use skep_network::attachments::{Attachment, Attachments};
use skep_network::namespace::Namespace;
use skep_network::topology::{self, LocalNode, RemoteNode, Routing};
use skep_network::{Host, HostConfig, Xdp, cni, sockets, ways};

use crate::command::ip;
use crate::probe::Place;

/// Ranges of all pods.
pub(crate) const CLUSTER_RANGES: [&str; 2] = ["10.244.0.0/16", "fd00:244::/48"];
/// Ranges of Services.
pub(crate) const SERVICE_RANGES: [&str; 2] = ["10.96.0.0/16", "fd00:96::/112"];

/// The address of a host on the switch.
pub(crate) fn host_address(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

/// And in IPv6.
pub(crate) fn host_address6(number: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into()
}

/// The ranges of a node's pods: those of node 10 are the first.
fn pod_ranges(number: u8) -> Vec<IpNet> {
    let index = number - 10;
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, index, 0), 24);
    let v6 = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x244, 0, index.into(), 0, 0, 0, 0), 64);
    vec![v4.into(), v6.into()]
}

/// A namespace that is a node of the cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name in objects.
    pub name: String,
    /// Its own address in IPv4.
    pub address: IpAddr,
    /// And in IPv6.
    pub address6: IpAddr,
    /// The ranges of its pods.
    pub(crate) pod_ranges: Vec<IpNet>,
    pub(crate) routing: Routing,
    world: String,
    place: Place,
    pub(crate) namespace: Namespace,
    pub(crate) pin_dir: PathBuf,
    pub(crate) state_dir: PathBuf,
    pods: AtomicU32,
}

/// A namespace that is a pod, wired by the CNI plugin.
#[derive(Debug)]
pub struct Pod {
    /// Its address in IPv4.
    pub address: IpAddr,
    /// And in IPv6.
    pub address6: IpAddr,
    /// What ADD answered.
    pub result: Value,
    name: String,
    place: Place,
}

impl Node {
    pub(crate) fn new(
        world: &str,
        short: &str,
        number: u8,
        routing: Routing,
        folder: &Path,
        cgroup: PathBuf,
    ) -> Self {
        let namespace = format!("{world}-{short}");
        let file = Path::new("/run/netns").join(&namespace);
        Self {
            name: short.to_owned(),
            address: host_address(number),
            address6: host_address6(number),
            pod_ranges: pod_ranges(number),
            routing,
            world: world.to_owned(),
            namespace: Namespace::open(&file).expect("the namespace is there"),
            pin_dir: folder.join("bpf").join(short),
            state_dir: folder.join(short),
            place: Place { namespace, cgroup: Some(cgroup) },
            pods: AtomicU32::new(0),
        }
    }

    /// Processes of the node itself.
    pub fn host(&self) -> &Place {
        &self.place
    }

    /// The node's tables.
    pub fn tables(&self) -> Tables {
        Tables::open(&self.pin_dir).expect("the agent has pinned them")
    }

    /// What the plugin remembers.
    pub(crate) fn attachments(&self) -> Vec<Attachment> {
        Attachments::peek(&self.state_dir.join("cni")).expect("the plugin's file is whole")
    }

    /// What the datapath counted; nothing when there is none.
    pub(crate) fn counters(&self) -> Vec<(Hook, Reason, Counter)> {
        let tables = Tables::open(&self.pin_dir).ok();
        tables.and_then(|tables| tables.counters.all().ok()).unwrap_or_default()
    }

    /// Removes flows that have ended, as agents do every few seconds.
    pub fn sweep(&self, timeouts: &Timeouts) {
        let sweep = || Datapath::open_pinned(&self.pin_dir)?.sweep(timeouts);
        self.namespace.run(sweep).expect("entered").expect("the tables can be swept");
    }

    /// What the datapath dropped or refused, by hook and reason.
    pub fn drops(&self) -> Vec<(Hook, Reason, u64)> {
        let all = self.counters().into_iter();
        let drops = all.filter(|(_, reason, _)| reason.is_drop());
        drops.map(|(hook, reason, counter)| (hook, reason, counter.packets)).collect()
    }

    /// Closes sockets of the node and of its pods by their cookies, as the proxy does.
    pub(crate) fn close_sockets(&self, cookies: &HashSet<u64>) -> usize {
        let namespaces: Vec<_> =
            self.attachments().into_iter().filter_map(|pod| pod.namespace).collect();
        let close = || sockets::close(cookies, &namespaces);
        self.namespace.run(close).expect("entered").expect("the kernel closes sockets")
    }

    /// Makes tables of these sizes, which agents then find.
    pub(crate) fn make_tables(&self, sizes: &Sizes) {
        let make = || Datapath::open_or_load_some(&self.pin_dir, sizes, |_| false);
        self.namespace.run(make).expect("entered").expect("the tables can be made");
    }

    /// Does what an agent does at its start, with new handles, and lets go of them.
    pub(crate) fn start_agent(&self, peer: &Self) {
        let config = HostConfig {
            node_ip: None,
            devices: Vec::new(),
            cluster_ranges: CLUSTER_RANGES.map(|range| range.parse().expect("a range")).into(),
            service_ranges: SERVICE_RANGES.map(|range| range.parse().expect("a range")).into(),
            pin_dir: self.pin_dir.clone(),
            socket_cgroup: self.place.cgroup.clone(),
            xdp: Xdp::Auto,
            masquerade: true,
            overlay_port: (self.routing != Routing::Direct).then_some(8472),
            foreign: false,
        };
        let other = RemoteNode {
            name: peer.name.clone(),
            addresses: vec![peer.address, peer.address6],
            pod_ranges: peer.pod_ranges.clone(),
        };
        let work = async {
            let host = Host::set_up(config).await?;
            host.address_overlay(&self.pod_ranges).await?;
            host.configure(&self.pod_ranges)?;
            let local = LocalNode {
                addresses: host.claim_addresses().await?,
                uplink: host.uplink().device.index,
                overlay: host.overlay().map(|overlay| overlay.index),
                pod_ranges: self.pod_ranges.clone(),
                routing: self.routing,
            };
            let topology = topology::plan(&local, &[other]);
            ways::apply(&topology, host.datapath().tables(), host.netlink()).await?;
            anyhow::Ok(())
        };
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work)
        };
        let started = self.namespace.run(run).expect("the namespace can be entered");
        started.unwrap_or_else(|error| panic!("agent of node {}: {error:#}", self.name));
    }

    /// Makes a pod and attaches it with ADD.
    pub fn pod(&self, name: &str) -> Pod {
        self.pod_with(name, json!({}))
    }

    /// The same with more fields of configuration, such as what a runtime adds for host ports.
    pub fn pod_with(&self, name: &str, more: Value) -> Pod {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{}-{}-{number}", self.world, self.name);
        ip(&format!("netns add {namespace}"));
        let place = Place { namespace, cgroup: self.place.cgroup.clone() };
        let result = self.cni("ADD", &place.namespace, more);
        let result = result.unwrap_or_else(|error| panic!("ADD for {name}: {error}"));
        let result = result.expect("ADD answers");
        let address = |number: usize| -> IpAddr {
            let text = result["ips"][number]["address"].as_str();
            let net: Option<IpNet> = text.and_then(|text| text.parse().ok());
            net.expect("ADD tells the addresses").addr()
        };
        let (address, address6) = (address(0), address(1));
        Pod { address, address6, result, name: name.to_owned(), place }
    }

    /// Calls the CNI plugin inside the node for a pod, with more fields of configuration.
    pub fn cni_for(
        &self,
        command: &str,
        pod: &Pod,
        more: Value,
    ) -> Result<Option<Value>, cni::CniError> {
        self.cni(command, &pod.place.namespace, more)
    }

    /// Calls the CNI plugin inside the node.
    pub fn cni(
        &self,
        command: &str,
        namespace: &str,
        more: Value,
    ) -> Result<Option<Value>, cni::CniError> {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "skep", "type": "skep-cni",
            "podCIDRs": self.pod_ranges, "mtu": self.mtu(),
            "stateDir": self.state_dir.join("cni"), "pinDir": self.pin_dir,
        });
        if let (Some(conf), Value::Object(more)) = (conf.as_object_mut(), more) {
            conf.extend(more);
        }
        let environment = |name: &str| match name {
            "CNI_COMMAND" => Some(command.to_owned()),
            "CNI_CONTAINERID" => Some(container_id(namespace)),
            "CNI_NETNS" => Some(format!("/run/netns/{namespace}")),
            "CNI_IFNAME" => Some("eth0".to_owned()),
            _ => None,
        };
        let serve = || cni::serve(environment, conf.to_string().as_bytes());
        self.namespace.run(serve).expect("the namespace can be entered")
    }

    fn mtu(&self) -> u32 {
        if self.routing == Routing::Vxlan { 1450 } else { 1500 }
    }
}

/// Sandboxes have names of their own, whose beginnings differ.
fn container_id(namespace: &str) -> String {
    let reversed: String = namespace.chars().rev().collect();
    format!("c{reversed}")
}

impl Pod {
    /// Processes of the pod.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What runtimes call it.
    pub fn container_id(&self) -> String {
        container_id(&self.place.namespace)
    }
}
