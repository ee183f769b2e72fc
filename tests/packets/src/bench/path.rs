//! The ways through the datapath that are measured, each with the connections that take it.

use anyhow::{Context as _, Result, ensure};
use skep_abi::{PortRange, Service, ServiceKey, proto, scope, service_flags, via};
use skep_bpf::{Flows, Program};
use skep_packet::{host::HostPacket, parse};

use crate::{
    case::Fate,
    frame::{Frame, flags},
    kernel::{InTables, KernelNode},
    world::{Front, InConfig, LOOPBACK, NODE_PORT, POD_A, POD_B, UPLINK, World},
};

/// Port of all backends but those that share an address.
const PORT: u16 = 8080;
/// Backends of a Service that are on the near node: enough for translated sources of all flows.
const BACKENDS: u16 = 64;
/// In by the node's device, in its driver.
const XDP: (Program, u32) = (Program::Xdp, LOOPBACK);
/// In by the node's device.
const IN: (Program, u32) = (Program::NodeIngress, UPLINK);
/// From pod A.
const A: (Program, u32) = (Program::PodIngress, POD_A);
/// From pod B.
const B: (Program, u32) = (Program::PodIngress, POD_B);

/// Which packet of a connection is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The opener's, established.
    Established,
    /// The answering side's, established.
    Reply,
    /// The first, of a connection that was not there before.
    New,
}

/// A way through the datapath.
#[derive(Clone)]
pub(super) struct Path<F: InConfig> {
    pub(super) name: &'static str,
    pub(super) moment: Moment,
    /// Where the opener's packets come in.
    at: (Program, u32),
    /// Where the answers come in, if they come by here.
    back: Option<(Program, u32)>,
    client: F::Addr,
    front: (F::Addr, u16),
    /// The node that sends the opener's packets on in an outer header.
    by: Option<F::Addr>,
    world: World<F>,
}

impl<F: InTables> Path<F> {
    /// The program that is measured.
    pub(super) fn program(&self) -> (Program, u32) {
        match (self.moment, self.back) {
            (Moment::Reply, Some(back)) => back,
            _ => self.at,
        }
    }

    /// The tables, with `services` Services in them.
    pub(super) fn world(&self, services: usize) -> World<F> {
        let mut world = self.world.clone();
        for number in 1..services {
            let key = ServiceKey {
                addr: F::at(41 + (number / 60_000) as u8, (number % 250) as u8),
                port_be: (1000 + (number / 250) as u16).to_be(),
                proto: proto::TCP,
                scope: scope::EXTERNAL,
            };
            let service = Service { slot_count: 1, id: 1000 + number as u32, ..Service::default() };
            world.services.push((key, service));
            world.services.push((ServiceKey { scope: scope::INTERNAL, ..key }, service));
        }
        world
    }

    /// The opener's packet of flow number 0.
    fn frame(&self, port: u16, flags: u8) -> Vec<u8> {
        let frame = Frame::<F>::tcp((self.client, port), self.front, flags);
        self.by.map_or_else(|| frame.bytes(), |by| frame.wrapped(by, F::node()).bytes())
    }

    /// Opens `count` connections and returns the packet to measure.
    pub(super) fn open(&self, node: &KernelNode, count: u32) -> Result<Vec<u8>> {
        if self.moment == Moment::New {
            return Ok(self.frame(0, flags::SYN));
        }
        let mut answer = Vec::new();
        // The first comes last: its packets are what is measured when there is one flow only.
        for number in (0..count).rev() {
            let port = number as u16;
            let (fate, out) = self.run(node, self.at, &self.frame(port, flags::SYN))?;
            ensure!(fate != Fate::Drop, "{}: flow {number} is dropped", self.name);
            if let Some(back) = self.back {
                let to = parse::<F>(&HostPacket(out)).context("a frame has headers")?;
                let (server, client) = ((to.dst, to.dport_be), (to.src, to.sport_be));
                let frame = |flags| {
                    let ports = (u16::from_be(server.1), u16::from_be(client.1));
                    Frame::<F>::tcp((server.0, ports.0), (client.0, ports.1), flags).bytes()
                };
                self.run(node, back, &frame(flags::SYN_ACK))?;
                answer = frame(flags::ACK);
            }
            self.run(node, self.at, &self.frame(port, flags::ACK))?;
        }
        Ok(if self.moment == Moment::Reply { answer } else { self.frame(0, flags::ACK) })
    }

    fn run(
        &self,
        node: &KernelNode,
        (program, ifindex): (Program, u32),
        packet: &[u8],
    ) -> Result<(Fate, Vec<u8>)> {
        node.run(program, ifindex, packet)
    }

    /// The flows that a measurement visits; nothing when it stays with one.
    pub(super) fn flows(&self, count: u32) -> Option<Flows> {
        let header = if F::VERSION == 4 { 20 } else { 40 };
        let skipped = if self.by.is_some() { header } else { 0 };
        let flows = Flows {
            count,
            port_offset: 14 + skipped + header,
            high_offset: 14 + skipped + if F::VERSION == 4 { 14 } else { 22 },
        };
        match self.moment {
            Moment::New => Some(Flows { count: 1 << 30, ..flows }),
            Moment::Established if count > 1 => Some(flows),
            Moment::Established | Moment::Reply => None,
        }
    }
}

/// All paths of a family. Encapsulation at TCX is not among them: the kernel marks a packet that it was
/// done to, refuses to do it twice, and lets no program take the mark away.
pub(super) fn all<F: InTables>() -> Vec<Path<F>> {
    let mut world = World::<F>::new();
    world.config.snat_ports = PortRange { min: 1024, max: NODE_PORT - 100 };
    let (vip, external) = ((F::service(1), 80), (F::external(), 443));
    let near: Vec<_> = (0..BACKENDS).map(|n| (F::near_pod(), PORT + n, via::PEER)).collect();
    let here = [(F::pod_b(), PORT, via::POD)];
    let cluster = |to: &[_]| world.clone().service(Front::tcp(vip.0, vip.1), to);
    let outside = |flags, to: &[_]| {
        world.clone().service(Front { flags, ..Front::tcp(external.0, external.1) }, to)
    };
    let dsr = Front { flags: service_flags::DSR, ..Front::tcp(external.0, external.1) };
    let established = Moment::Established;
    let path = |name, at, back, world| Path {
        name,
        moment: established,
        at,
        back,
        client: F::client(),
        front: external,
        by: None,
        world,
    };
    let tunnel = path("to a remote backend, encapsulated", XDP, None, outside(dsr.flags, &near));
    let snat = path("to a remote backend, translated", XDP, Some(XDP), outside(0, &near));
    let unwrap =
        path("from another node, encapsulated", XDP, Some(B), world.clone().local(dsr, Some(PORT)));
    let unwrap = Path { by: Some(F::near_node()), ..unwrap };
    let pod = |name, back, world| Path {
        client: F::pod_a(),
        front: vip,
        ..path(name, A, Some(back), world)
    };
    let remote = pod("pod to ClusterIP, backend on another node", IN, cluster(&near));
    let local = pod("pod to ClusterIP, backend here", B, cluster(&here));
    let straight = Path { front: (F::pod_b(), PORT), ..pod("pod to pod here", B, world.clone()) };
    let at_tc = |path: &Path<F>| Path {
        at: IN,
        back: path.back.map(|back| if back == XDP { IN } else { back }),
        ..path.clone()
    };
    let moment = |path: &Path<F>, moment| Path { moment, ..path.clone() };
    vec![
        tunnel.clone(),
        moment(&tunnel, Moment::New),
        snat.clone(),
        moment(&snat, Moment::New),
        moment(&snat, Moment::Reply),
        unwrap.clone(),
        at_tc(&snat),
        moment(&at_tc(&snat), Moment::Reply),
        at_tc(&unwrap),
        remote.clone(),
        moment(&remote, Moment::Reply),
        local.clone(),
        moment(&local, Moment::Reply),
        straight,
    ]
}
