//! A flood of SYNs from addresses that never answer.

use skep_abi::{Hook, PortRange, Reason, V4, V6, flow_flags, service_flags, via};
use skep_bpf::{Flows, Program};
use skep_packet::{host::HostPacket, parse};
use skep_packets_tests::{
    case::Fate,
    frame::{Frame, flags},
    kernel::{InTables, KernelNode},
    world::{Front, UPLINK, World},
};

/// Connections that are there before.
const CLIENTS: u16 = 100;
/// SYNs of the flood: many times what is remembered of connections that are not answered.
const SYNS: u32 = 200_000;
const PORT: u16 = 443;

/// One client's side of a connection to a front end whose backend is on the near node.
struct Client<F: InTables> {
    port: u16,
    /// Where its packets go: the translated source port, if the source is translated.
    seen_as: Option<u16>,
    family: std::marker::PhantomData<F>,
}

impl<F: InTables> Client<F> {
    fn frame(&self, flags: u8) -> Vec<u8> {
        Frame::<F>::tcp((F::client(), self.port), (F::external(), PORT), flags).bytes()
    }

    /// Sends a packet and returns the source port that the backend sees.
    fn send(&self, node: &KernelNode, flags: u8) -> u16 {
        let (fate, out) = node.run(Program::NodeIngress, UPLINK, &self.frame(flags)).expect("runs");
        assert_eq!(fate, Fate::Redirect, "client {}", self.port);
        let headers = parse::<F>(&HostPacket(out)).expect("headers");
        u16::from_be(headers.sport_be)
    }

    /// Opens a connection: SYN, the backend's answer if it comes by here, and what follows it.
    fn connect(node: &KernelNode, port: u16, direct: bool) -> Self {
        let mut client = Self { port, seen_as: None, family: std::marker::PhantomData };
        let seen_as = client.send(node, flags::SYN);
        if !direct {
            client.seen_as = Some(seen_as);
            let (server, node_side) = ((F::near_pod(), 8080), (F::node(), seen_as));
            let answer = Frame::<F>::tcp(server, node_side, flags::SYN_ACK).bytes();
            let (fate, _) = node.run(Program::NodeIngress, UPLINK, &answer).expect("runs");
            assert_eq!(fate, Fate::Redirect, "the answer to client {port}");
        }
        client.send(node, flags::ACK);
        client
    }

    /// Asserts that its packets still go where they went.
    fn assert_lives(&self, node: &KernelNode) {
        let seen_as = self.send(node, flags::ACK);
        if let Some(before) = self.seen_as {
            assert_eq!(seen_as, before, "client {}", self.port);
        }
    }
}

/// With the few ports that translated sources have on a node with room for many unanswered connections,
/// those run out before the embryos push each other out.
const FEW_PORTS: PortRange = PortRange { min: 10_000, max: 11_999 };
const MANY_PORTS: PortRange = PortRange { min: 1024, max: 29_999 };

fn a_flood_pushes_out_no_established_connection<F: InTables>(direct: bool, ports: PortRange) {
    let node = KernelNode::new().expect("a node of its own");
    let flags = if direct { service_flags::DSR } else { 0 };
    let front = Front { flags, ..Front::<F>::tcp(F::external(), PORT) };
    let mut world = World::<F>::new().service(front, &[(F::near_pod(), 8080, via::PEER)]);
    world.config.snat_ports = ports;
    node.set(&world).expect("the tables can be written");
    let clients: Vec<Client<F>> =
        (1..=CLIENTS).map(|port| Client::connect(&node, port, direct)).collect();
    let tables = F::of(node.datapath().tables());
    let established = || tables.flows.entries().expect("read");
    assert_eq!(established().len(), usize::from(CLIENTS));
    let tunnels = established().iter().filter(|(_, f)| f.flags & flow_flags::TUNNEL != 0).count();
    assert_eq!(tunnels > 0, direct);

    let counted = |reason: Reason| {
        let all = node.datapath().tables().counters.all().expect("read");
        all.iter()
            .filter(|(hook, r, _)| *hook == Hook::Xdp && *r == reason)
            .map(|(_, _, counter)| counter.packets)
            .sum::<u64>()
    };
    let before = (counted(Reason::Opened), counted(Reason::Forwarded));
    let header = if F::VERSION == 4 { 20 } else { 40 };
    let strangers = Flows {
        count: 1 << 30,
        port_offset: 14 + header,
        high_offset: 14 + if F::VERSION == 4 { 14 } else { 22 },
    };
    let syn = Frame::<F>::tcp((F::at(77, 1), 0), (F::external(), PORT), flags::SYN).bytes();
    let flood = node.program(Program::Xdp).measure(&syn, 0, Some(strangers), SYNS);
    flood.expect("the flood runs");

    let opened = counted(Reason::Opened) - before.0;
    let forwarded = counted(Reason::Forwarded) - before.1;
    assert!(opened > u64::from(SYNS) * 9 / 10, "{opened} connections were opened");
    assert!(forwarded > u64::from(SYNS) * 9 / 10, "{forwarded} packets were sent on");
    assert_eq!(established().len(), usize::from(CLIENTS), "strangers got established");
    clients.iter().for_each(|client| client.assert_lives(&node));
    Client::<F>::connect(&node, 60_000, direct).assert_lives(&node);
    assert_eq!(established().len(), usize::from(CLIENTS) + 1, "a real client gets in");
}

#[test]
fn a_flood_pushes_out_no_translated_connection() {
    a_flood_pushes_out_no_established_connection::<V4>(false, MANY_PORTS);
}

#[test]
fn a_flood_keeps_no_port_from_translated_connections() {
    a_flood_pushes_out_no_established_connection::<V4>(false, FEW_PORTS);
}

#[test]
fn a_flood_keeps_no_port_from_translated_connections_of_ipv6() {
    a_flood_pushes_out_no_established_connection::<V6>(false, FEW_PORTS);
}

#[test]
fn a_flood_pushes_out_no_translated_connection_of_ipv6() {
    a_flood_pushes_out_no_established_connection::<V6>(false, MANY_PORTS);
}

#[test]
fn a_flood_pushes_out_no_directly_returned_connection() {
    a_flood_pushes_out_no_established_connection::<V4>(true, MANY_PORTS);
}

#[test]
fn a_flood_pushes_out_no_directly_returned_connection_of_ipv6() {
    a_flood_pushes_out_no_established_connection::<V6>(true, MANY_PORTS);
}
