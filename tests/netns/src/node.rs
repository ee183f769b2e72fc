//! A node and its pods.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::IpNet;
use serde_json::{Value, json};
use skep_abi::{Counter, Hook, Reason};
use skep_bpf::Tables;
use skep_network::attachments::{Attachment, Attachments};
use skep_network::namespace::Namespace;
use skep_network::topology::{self, LocalNode, RemoteNode, Routing};
use skep_network::{Host, HostConfig, Xdp, cni, sockets, ways};

use crate::command::ip;
use crate::probe::Place;

/// A namespace that is a node of the cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name in objects.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// The range of its pods.
    pub pod_range: IpNet,
    routing: Routing,
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
    /// Its address.
    pub address: IpAddr,
    /// What ADD answered.
    pub result: Value,
    name: String,
    place: Place,
}

impl Node {
    pub(crate) fn new(
        world: &str,
        short: &str,
        address: IpAddr,
        pod_range: IpNet,
        routing: Routing,
        folder: &Path,
        cgroup: PathBuf,
    ) -> Self {
        let namespace = format!("{world}-{short}");
        let file = Path::new("/run/netns").join(&namespace);
        Self {
            name: short.to_owned(),
            address,
            pod_range,
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

    /// Closes sockets of the node and of its pods by their cookies, as the proxy does.
    pub(crate) fn close_sockets(&self, cookies: &HashSet<u64>) -> usize {
        let namespaces: Vec<_> =
            self.attachments().into_iter().filter_map(|pod| pod.namespace).collect();
        let close = || sockets::close(cookies, &namespaces);
        self.namespace.run(close).expect("entered").expect("the kernel closes sockets")
    }

    /// Does what an agent does at its start, with new handles, and lets go of them.
    pub(crate) fn start_agent(&self, peer: &Self) {
        let config = HostConfig {
            node_ip: None,
            devices: Vec::new(),
            cluster_ranges: vec!["10.244.0.0/16".parse().expect("a range")],
            service_ranges: vec!["10.96.0.0/16".parse().expect("a range")],
            pin_dir: self.pin_dir.clone(),
            socket_cgroup: self.place.cgroup.clone(),
            xdp: Xdp::Auto,
            masquerade: true,
            overlay_port: (self.routing != Routing::Direct).then_some(8472),
            foreign: false,
        };
        let other = RemoteNode {
            name: peer.name.clone(),
            addresses: vec![peer.address],
            pod_ranges: vec![peer.pod_range],
        };
        let work = async {
            let host = Host::set_up(config).await?;
            host.address_overlay(&[self.pod_range]).await?;
            host.configure(&[self.pod_range])?;
            let local = LocalNode {
                addresses: host.claim_addresses().await?,
                uplink: host.uplink().device.index,
                overlay: host.overlay().map(|overlay| overlay.index),
                pod_ranges: vec![self.pod_range],
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
        let address: IpNet = result["ips"][0]["address"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("ADD tells the address");
        Pod { address: address.addr(), result, name: name.to_owned(), place }
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
            "podCIDRs": [self.pod_range], "mtu": self.mtu(),
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
