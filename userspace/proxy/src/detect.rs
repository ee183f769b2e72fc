//! Which addresses are this node's pods, on somebody else's network: `--detect-local-mode`.

use ipnet::IpNet;
use skep_network::netlink::{Address, Device};

use crate::config::{LocalMode, Settings};
use crate::objects::Node;

/// Tells them from what it was told and what it sees; pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detector {
    mode: LocalMode,
    cluster: Vec<IpNet>,
    node: Vec<IpNet>,
    bridge: String,
    prefix: String,
}

impl Detector {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            mode: settings.detect,
            cluster: settings.cluster_cidrs.clone(),
            node: Vec::new(),
            bridge: settings.bridge.clone(),
            prefix: settings.device_prefix.clone(),
        }
    }

    /// Takes the node's own ranges; whether they are other ones now.
    pub(crate) fn take_node(&mut self, node: &Node) -> bool {
        let Some(spec) = &node.spec else { return false };
        let one = std::slice::from_ref(&spec.pod_cidr);
        let texts = if spec.pod_cidrs.is_empty() { one } else { &spec.pod_cidrs };
        let ranges: Vec<IpNet> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        let changed = ranges != self.node;
        self.node = ranges;
        changed
    }

    /// The ranges of pods: the datapath takes one per family, the first.
    pub(crate) fn pods(
        &self,
        devices: &[Device],
        addresses: &[Address],
        routes: &[(IpNet, u32)],
    ) -> Vec<IpNet> {
        match self.mode {
            LocalMode::ClusterCidr => self.cluster.clone(),
            LocalMode::NodeCidr => self.node.clone(),
            LocalMode::BridgeInterface => {
                let bridge = devices.iter().find(|device| device.name == self.bridge);
                let on_it =
                    addresses.iter().filter(|a| bridge.is_some_and(|b| b.index == a.device));
                on_it.map(|address| address.address.trunc()).collect()
            }
            LocalMode::InterfaceNamePrefix => {
                let is_meant = |index: &u32| {
                    let device = devices.iter().find(|device| device.index == *index);
                    device.is_some_and(|device| device.name.starts_with(&self.prefix))
                };
                let to_pods = routes.iter().filter(|(_, device)| is_meant(device));
                let pods: Vec<IpNet> = to_pods.map(|(prefix, _)| *prefix).collect();
                // Routes to single pods: the range that they were taken from.
                let of_pod = |range: &&IpNet| pods.iter().any(|pod| range.contains(pod));
                let ranges: Vec<_> = self.node.iter().filter(of_pod).copied().collect();
                if ranges.is_empty() { pods } else { ranges }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::NodeSpec;

    #[test]
    fn each_mode_finds_the_pods() {
        let net = |text: &str| text.parse::<IpNet>().expect("range");
        let device = |index, name: &str| Device {
            index,
            name: name.into(),
            mac: [0; 6],
            mtu: 1500,
            up: true,
            is_virtual: true,
            is_ethernet: true,
            is_port: false,
        };
        let devices = [device(2, "eth0"), device(3, "cni0"), device(4, "veth1")];
        let addresses = [
            Address { device: 2, address: net("192.0.2.1/24") },
            Address { device: 3, address: net("10.244.7.1/24") },
        ];
        let routes = [(net("10.244.1.5/32"), 4), (net("0.0.0.0/0"), 2)];
        let spec = NodeSpec { pod_cidr: "10.244.1.0/24".into(), ..NodeSpec::default() };
        let node = Node { metadata: None, spec: Some(spec), status: None };
        for (mode, ranges) in [
            (LocalMode::ClusterCidr, "10.244.0.0/16"),
            (LocalMode::NodeCidr, "10.244.1.0/24"),
            (LocalMode::BridgeInterface, "10.244.7.0/24"),
            (LocalMode::InterfaceNamePrefix, "10.244.1.0/24"),
        ] {
            let mut detector = Detector {
                mode,
                cluster: vec![net("10.244.0.0/16")],
                node: Vec::new(),
                bridge: "cni0".into(),
                prefix: "veth".into(),
            };
            assert!(detector.take_node(&node) && !detector.take_node(&node));
            assert_eq!(detector.pods(&devices, &addresses, &routes), [net(ranges)], "{mode:?}");
        }
    }
}
