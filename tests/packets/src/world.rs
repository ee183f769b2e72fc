//! The small cluster that all cases play in, seen from one of its nodes.

use std::net::IpAddr;

use skep_abi::{
    Backend, Config, Endpoint, EndpointKey, FamilyConfig, Node, NodeKey, Peer, PortRange, RangeKey,
    Service, ServiceKey, V4, V6, backend_state, config_flags, endpoint_flags, peer_mode, proto,
    scope, service_flags, via,
};
use skep_engine::Net;

/// Device of the node.
pub const UPLINK: u32 = 10;
/// Host side of the veth pair of pod A.
pub const POD_A: u32 = 11;
/// Host side of the veth pair of pod B.
pub const POD_B: u32 = 12;
/// The overlay device.
pub const OVERLAY: u32 = 13;
/// Loopback: where test runs of XDP programs get their packets from.
pub const LOOPBACK: u32 = 1;
/// Hardware address of the near node.
pub const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 3];
/// Index of the near node in `peers`.
pub const NEAR_PEER: u32 = 1;
/// All devices.
pub const DEVICES: [u32; 4] = [UPLINK, POD_A, POD_B, OVERLAY];

/// The one port that translated sources get, so that cases can name it.
pub const SNAT_PORT: u16 = 20_000;
/// A node port.
pub const NODE_PORT: u16 = 30_080;
/// The tick that cases play at, on the host.
pub const TICK: u64 = 1;

/// An address family with the addresses of the cluster.
pub trait Plan: Net + Ord {
    /// Address number `host` in network number `net` of the plan.
    fn at(net: u8, host: u8) -> Self::Addr;
    /// Its prefix length, and its mask.
    fn network_mask() -> (u32, Self::Addr);
    /// Mask of the pods of the cluster: networks 16 to 31.
    fn pods_mask() -> Self::Addr;
    /// Bits of an address.
    const BITS: u32;
    /// The port that the client's connection to the external address gets when its own is taken: it
    /// follows from the hash of the tuple.
    const OTHER_PORT: u16;

    /// This node.
    fn node() -> Self::Addr {
        Self::at(1, 1)
    }
    /// A node on the same link.
    fn near_node() -> Self::Addr {
        Self::at(1, 2)
    }
    /// A node behind the overlay.
    fn far_node() -> Self::Addr {
        Self::at(1, 3)
    }
    /// Pod A on this node.
    fn pod_a() -> Self::Addr {
        Self::at(20, 2)
    }
    /// Pod B on this node.
    fn pod_b() -> Self::Addr {
        Self::at(20, 3)
    }
    /// A pod on the near node.
    fn near_pod() -> Self::Addr {
        Self::at(21, 2)
    }
    /// A pod on the far node.
    fn far_pod() -> Self::Addr {
        Self::at(22, 2)
    }
    /// A client outside of the cluster.
    fn client() -> Self::Addr {
        Self::at(99, 9)
    }
    /// A Service's address.
    fn service(host: u8) -> Self::Addr {
        Self::at(40, host)
    }
    /// An external address of a Service.
    fn external() -> Self::Addr {
        Self::at(98, 1)
    }
}

impl Plan for V4 {
    const BITS: u32 = 32;
    const OTHER_PORT: u16 = 33_530;

    fn at(net: u8, host: u8) -> [u32; 1] {
        [u32::from_ne_bytes([10, 0, net, host])]
    }

    fn network_mask() -> (u32, [u32; 1]) {
        (24, [u32::from_ne_bytes([255, 255, 255, 0])])
    }

    fn pods_mask() -> [u32; 1] {
        [u32::from_ne_bytes([255, 255, 240, 0])]
    }
}

impl Plan for V6 {
    const BITS: u32 = 128;
    const OTHER_PORT: u16 = 63_822;

    fn at(net: u8, host: u8) -> [u32; 4] {
        [
            u32::from_ne_bytes([0xfd, 0, 0, 10]),
            0,
            u32::from_ne_bytes([0, 0, 0, net]),
            u32::from_ne_bytes([0, 0, 0, host]),
        ]
    }

    fn network_mask() -> (u32, [u32; 4]) {
        (96, [u32::MAX, u32::MAX, u32::MAX, 0])
    }

    fn pods_mask() -> [u32; 4] {
        [u32::MAX, u32::MAX, u32::from_ne_bytes([255, 255, 255, 240]), 0]
    }
}

/// All entries of the tables of one family.
#[derive(Clone, Debug)]
pub struct World<F: Plan> {
    /// Table `config`.
    pub config: Config,
    /// Table `services`.
    pub services: Vec<(ServiceKey<F>, Service)>,
    /// Table `slots`.
    pub slots: Vec<u32>,
    /// Table `backends`, from id 1 on.
    pub backends: Vec<Backend<F>>,
    /// Table `endpoints`.
    pub endpoints: Vec<(EndpointKey<F>, Endpoint)>,
    /// Table `nodes`.
    pub nodes: Vec<(NodeKey<F>, Node)>,
    /// Table `peers`, from index 1 on.
    pub peers: Vec<Peer>,
    /// Table `ranges`.
    pub ranges: Vec<RangeKey<F>>,
}

/// A family's part of the configuration.
pub trait InConfig: Plan {
    /// Puts it in.
    fn put(config: &mut Config, part: FamilyConfig<Self>);
}

impl InConfig for V4 {
    fn put(config: &mut Config, part: FamilyConfig<Self>) {
        config.v4 = part;
    }
}

impl InConfig for V6 {
    fn put(config: &mut Config, part: FamilyConfig<Self>) {
        config.v6 = part;
    }
}

impl<F: InConfig> World<F> {
    /// Two pods here, a near and a far node, no Services.
    pub fn new() -> Self {
        let mask = F::network_mask().1;
        let mut config = Config {
            snat_ports: PortRange { min: SNAT_PORT, max: SNAT_PORT },
            node_ports: PortRange { min: 30_000, max: 32_767 },
            uplink_ifindex: UPLINK,
            overlay_ifindex: OVERLAY,
            vni: 1,
            overlay_port: 4789,
            flags: config_flags::MASQUERADE,
            ticks_per_s: 100,
            hash_seed: 1,
            ..Config::default()
        };
        let part = FamilyConfig {
            node: F::node(),
            pods: F::at(20, 0),
            pods_mask: mask,
            cluster: F::at(16, 0),
            cluster_mask: F::pods_mask(),
            services: F::at(40, 0),
            services_mask: mask,
        };
        F::put(&mut config, part);
        let mut world = Self {
            config,
            services: vec![],
            slots: vec![],
            backends: vec![],
            endpoints: vec![],
            nodes: vec![],
            peers: vec![],
            ranges: vec![],
        };
        world.endpoint(F::node(), 0, endpoint_flags::HOST);
        world.endpoint(F::pod_a(), POD_A, endpoint_flags::POD);
        world.endpoint(F::pod_b(), POD_B, endpoint_flags::POD);
        for (address, network, mode) in
            [(F::near_node(), 21, peer_mode::DIRECT), (F::far_node(), 22, peer_mode::VXLAN)]
        {
            let mut peer = Peer { mode, ifindex: UPLINK, ..Peer::default() };
            match F::addr_to_ip(address) {
                IpAddr::V4(_) => peer.addr4.copy_from_slice(address.as_ref()),
                IpAddr::V6(_) => peer.addr6.copy_from_slice(address.as_ref()),
            }
            world.peers.push(peer);
            let index = world.peers.len() as u32;
            world.node(F::at(network, 0), F::network_mask().0, index, 0);
            world.node(address, F::BITS, index, 1);
        }
        world
    }

    fn endpoint(&mut self, addr: F::Addr, ifindex: u32, flags: u32) {
        let endpoint = Endpoint { ifindex, flags, ..Endpoint::default() };
        self.endpoints.push((EndpointKey { addr }, endpoint));
    }

    fn node(&mut self, addr: F::Addr, prefix_len: u32, peer: u32, is_host: u32) {
        self.nodes.push((NodeKey { prefix_len, addr }, Node { peer, is_host }));
    }

    /// Adds a Service with these backends under a front end; `to` are address, port and how to reach.
    #[must_use]
    pub fn service(mut self, front: Front<F>, to: &[(F::Addr, u16, u8)]) -> Self {
        let slot_base = self.slots.len() as u32;
        for &(addr, port, via) in to {
            let endpoint = self.endpoints.iter().find(|(key, _)| key.addr == addr);
            let ifindex = match via {
                via::POD => endpoint.map_or(0, |(_, found)| found.ifindex),
                via::DEVICE => UPLINK,
                _ => 0,
            };
            let peer = if via != via::PEER { 0 } else { 1 + u32::from(addr == F::far_pod()) };
            let state = backend_state::READY;
            self.backends.push(Backend { addr, port_be: port.to_be(), state, via, ifindex, peer });
            self.slots.push(self.backends.len() as u32);
        }
        let service = Service {
            slot_base,
            slot_count: to.len() as u32,
            id: 1 + self.services.len() as u32,
            flags: front.flags,
            affinity_s: 10,
            backend_count: to.len() as u32,
        };
        for scope in [scope::INTERNAL, scope::EXTERNAL] {
            let key = ServiceKey {
                addr: front.addr,
                port_be: front.port.to_be(),
                proto: front.proto,
                scope,
            };
            self.services.push((key, service));
        }
        self
    }

    /// Adds a front end for packets that other nodes send on, with a backend in pod B or none.
    #[must_use]
    pub fn local(mut self, front: Front<F>, port: Option<u16>) -> Self {
        let to: Vec<_> = port.map(|port| (F::pod_b(), port, via::POD)).into_iter().collect();
        let before = self.services.len();
        self = self.service(front, &to);
        self.services.truncate(before + 1);
        self.services[before].0.scope = scope::LOCAL;
        self
    }

    /// Adds the entry that makes unknown ports of a Service's address be rejected.
    #[must_use]
    pub fn rejecting(self, addr: F::Addr) -> Self {
        self.service(Front { addr, port: 0, proto: proto::ANY, flags: service_flags::REJECT }, &[])
    }

    /// Gives the node another address.
    #[must_use]
    pub fn own_address(mut self, addr: F::Addr) -> Self {
        self.endpoint(addr, 0, endpoint_flags::HOST);
        self
    }

    /// Makes the newest two front ends those of one Service.
    #[must_use]
    pub fn of_one_service(mut self) -> Self {
        let id = self.services.last().map_or(0, |(_, service)| service.id);
        for (_, service) in self.services.iter_mut().rev().take(4) {
            service.id = id;
        }
        self
    }

    /// Lets clients of a prefix use the newest Service.
    #[must_use]
    pub fn range(mut self, addr: F::Addr, bits: u32) -> Self {
        let service = self.services.last().map_or(0, |(_, service)| service.id);
        self.ranges.push(RangeKey { prefix_len: 32 + bits, service, addr });
        self
    }

    /// Sets the state of the newest backend.
    #[must_use]
    pub fn backend_state(mut self, state: u8) -> Self {
        if let Some(backend) = self.backends.last_mut() {
            backend.state = state;
        }
        self
    }

    /// Leaves the pods to somebody else's network: only the node itself is known.
    #[must_use]
    pub fn foreign(mut self) -> Self {
        self.endpoints.retain(|(_, endpoint)| endpoint.flags & endpoint_flags::HOST != 0);
        self.nodes.clear();
        self.peers.clear();
        let mask = F::network_mask().1;
        let part = FamilyConfig {
            node: F::node(),
            pods: F::at(20, 0),
            pods_mask: mask,
            services: F::at(40, 0),
            services_mask: mask,
            ..FamilyConfig::default()
        };
        F::put(&mut self.config, part);
        self.config.uplink_ifindex = 0;
        self
    }

    /// Sets bits of the configuration's flags.
    #[must_use]
    pub fn config_flag(mut self, flag: u32) -> Self {
        self.config.flags |= flag;
        self
    }
}

impl<F: InConfig> Default for World<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// A front end.
#[derive(Clone, Copy, Debug)]
pub struct Front<F: Plan> {
    /// Its address.
    pub addr: F::Addr,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub proto: u8,
    /// Bits of [`service_flags`].
    pub flags: u32,
}

impl<F: Plan> Front<F> {
    /// A TCP front end.
    pub fn tcp(addr: F::Addr, port: u16) -> Self {
        Self { addr, port, proto: proto::TCP, flags: 0 }
    }

    /// A UDP front end.
    pub fn udp(addr: F::Addr, port: u16) -> Self {
        Self { addr, port, proto: proto::UDP, flags: 0 }
    }

    /// An SCTP front end.
    pub fn sctp(addr: F::Addr, port: u16) -> Self {
        Self { addr, port, proto: proto::SCTP, flags: 0 }
    }
}
