//! Every reason for which a packet gets no further, provoked and found in the counters.

use skep_abi::{Hook, PortRange, Reason, V4, V6, backend_state, peer_mode, service_flags, via};
use skep_bpf::{Program, Sizes};
use skep_engine::{Ingress, decide, host::HostTables};
use skep_packet::{Field, Packet, Wire, host::HostPacket};
use skep_packets_tests::{
    frame::{Frame, Piece, flags},
    host::HostNode,
    kernel::{InTables, KernelNode},
    world::{Front, InConfig, POD_A, UPLINK, World},
};

/// Where a packet comes in.
const FROM_POD: (Program, u32) = (Program::PodIngress, POD_A);
const FROM_OUTSIDE: (Program, u32) = (Program::NodeIngress, UPLINK);

/// Packets, of which the last meets its end.
struct Play<F: InConfig> {
    world: World<F>,
    packets: Vec<((Program, u32), Vec<u8>)>,
    /// What the first backend becomes before the last packet.
    backend_state: u8,
}

impl<F: InConfig> Play<F> {
    fn new(world: World<F>) -> Self {
        Self { world, packets: vec![], backend_state: backend_state::READY }
    }

    fn send(mut self, at: (Program, u32), frame: &Frame<F>) -> Self {
        self.packets.push((at, frame.bytes()));
        self
    }

    /// A connection from outside to the front end, whose source is translated: a SYN, an answer to each
    /// port that it may have got, and what follows.
    fn connect(mut self, client: u16) -> Self {
        let (client, front) = ((F::client(), client), front::<F>());
        self = self.send(FROM_OUTSIDE, &Frame::tcp(client, front, flags::SYN));
        let PortRange { min, max } = self.world.config.snat_ports;
        for port in min..=max {
            let (server, seen_as) = ((F::near_pod(), 8080), (F::node(), port));
            self = self.send(FROM_OUTSIDE, &Frame::tcp(server, seen_as, flags::SYN_ACK));
        }
        self.send(FROM_OUTSIDE, &Frame::tcp(client, front, flags::ACK))
    }
}

fn front<F: InConfig>() -> (F::Addr, u16) {
    (F::external(), 443)
}

/// How a reason is provoked.
fn play<F: InConfig>(reason: Reason) -> Play<F> {
    let (a, client) = ((F::pod_a(), 4000), (F::client(), 5000));
    let (vip, front) = ((F::service(1), 80), front::<F>());
    let world = World::<F>::new;
    let with = |flags, to: &[(F::Addr, u16, u8)]| {
        world().service(Front { flags, ..Front::tcp(front.0, front.1) }, to)
    };
    let near = [(F::near_pod(), 8080, via::PEER)];
    let local = [(F::pod_b(), 8080, via::POD)];
    let syn = Frame::<F>::tcp(client, front, flags::SYN);
    let from_pod = |to| Frame::<F>::tcp(a, to, flags::SYN);
    match reason {
        Reason::NoBackend => Play::new(with(0, &[])).send(FROM_OUTSIDE, &syn),
        Reason::NoServicePort => {
            Play::new(world().rejecting(vip.0)).send(FROM_POD, &from_pod((vip.0, 81)))
        }
        Reason::UnknownService => Play::new(world()).send(FROM_POD, &from_pod(vip)),
        Reason::BackendGone => Play {
            backend_state: backend_state::GONE,
            ..Play::new(with(0, &local))
                .send(FROM_OUTSIDE, &syn)
                .send(FROM_OUTSIDE, &Frame::tcp(client, front, flags::ACK))
        },
        Reason::NoLocalBackend => {
            Play::new(with(service_flags::DROP, &[])).send(FROM_OUTSIDE, &syn)
        }
        Reason::SpoofedSource => {
            Play::new(world()).send(FROM_POD, &Frame::tcp(client, vip, flags::SYN))
        }
        Reason::Malformed => {
            let mut play = Play::new(world()).send(FROM_POD, &from_pod(vip));
            play.packets[0].1.truncate(14 + F::HEADER + 2);
            play
        }
        Reason::Fragment => {
            Play::new(world()).send(FROM_POD, &Frame::udp(a, vip).piece(Piece::Last))
        }
        Reason::UnsupportedProtocol => {
            let inner = Frame::other(client.0, front.0, 47);
            let wrapped = inner.wrapped(F::near_node(), F::node());
            Play::new(world()).send(FROM_OUTSIDE, &wrapped)
        }
        Reason::FlowsFull => Play::new(with(service_flags::DSR, &near))
            .send(FROM_OUTSIDE, &syn)
            .send(FROM_OUTSIDE, &Frame::tcp(client, front, flags::ACK))
            .send(FROM_OUTSIDE, &Frame::tcp((client.0, 5001), front, flags::SYN))
            .send(FROM_OUTSIDE, &Frame::tcp((client.0, 5001), front, flags::ACK)),
        Reason::SnatFull => {
            let mut world = with(0, &near);
            world.config.snat_ports.max += 1;
            Play::new(world).connect(5000).connect(5001)
        }
        Reason::SnatPortsExhausted => Play::new(with(0, &near))
            .connect(5000)
            .send(FROM_OUTSIDE, &Frame::tcp((client.0, 5001), front, flags::SYN)),
        Reason::InvalidBackend => {
            Play::new(with(0, &local).backend_state(backend_state::UNUSED)).send(FROM_OUTSIDE, &syn)
        }
        Reason::InvalidPeer => {
            let mut world = world();
            world.peers[0].mode = peer_mode::NONE;
            Play::new(world).send(FROM_POD, &from_pod((F::near_pod(), 80)))
        }
        Reason::NoNodeAddress => {
            let mut world = world();
            let mut part = *F::config(&world.config);
            part.node = F::Addr::default();
            F::put(&mut world.config, part);
            Play::new(world).send(FROM_POD, &from_pod((F::client(), 443)))
        }
        Reason::SourceNotAllowed => {
            Play::new(with(service_flags::SOURCE_RANGES, &local)).send(FROM_OUTSIDE, &syn)
        }
        Reason::PacketTooBig => {
            let mut world = with(service_flags::DSR, &near);
            // Two network headers and a TCP header are longer.
            world.config.uplink_mtu = 2 * F::HEADER as u32 + 19;
            Play::new(world).send(FROM_OUTSIDE, &syn)
        }
        Reason::TtlExceeded => {
            let front = (F::node(), 443);
            let world = world().service(Front::tcp(front.0, front.1), &local);
            let last = Frame::tcp(client, front, flags::SYN).ttl(1);
            Play::new(world).send(FROM_OUTSIDE, &last)
        }
        other => panic!("{other:?} is provoked nowhere"),
    }
}

fn is_counted<F: InTables>(node: &KernelNode, reason: Reason) {
    let play = play::<F>(reason);
    node.set(&play.world).expect("the tables can be written");
    let Some(((program, ifindex), last)) = play.packets.last() else { panic!("a play has an end") };
    for ((program, ifindex), packet) in &play.packets[..play.packets.len() - 1] {
        node.run(*program, *ifindex, packet).expect("runs");
    }
    if play.backend_state != backend_state::READY {
        let backends = &F::of(node.datapath().tables()).backends;
        let backend = backends.get(1).expect("read");
        backends.set(1, &skep_abi::Backend { state: play.backend_state, ..backend }).expect("set");
    }
    let hook = program.hook().expect("packet programs have a hook");
    let counted = || {
        let all = node.datapath().tables().counters.all().expect("read");
        let own = all.into_iter().filter(|(at, why, _)| (*at, *why) == (hook, reason));
        own.map(|(_, _, counter)| counter.packets).sum::<u64>()
    };
    let before = counted();
    node.run(*program, *ifindex, last).expect("runs");
    assert_eq!(counted(), before + 1, "{} (v{})", reason.name(), F::VERSION);
}

#[test]
fn every_drop_has_a_packet_that_meets_it() {
    // Room for one flow is all that some need, and too little for others.
    let needs_full = |reason: &Reason| matches!(reason, Reason::FlowsFull | Reason::SnatFull);
    // The last is brought about by no packet: see below.
    let drops: Vec<Reason> = Reason::ALL
        .iter()
        .copied()
        .filter(|reason| reason.is_drop() && *reason != Reason::HelperFailed)
        .collect();
    for flows in [1, 1024] {
        let sizes = Sizes { flows, ..Sizes::for_memory(0) };
        let node = KernelNode::with_sizes(&sizes).expect("a node of its own");
        for reason in drops.iter().filter(|reason| needs_full(reason) == (flows == 1)) {
            is_counted::<V4>(&node, *reason);
            is_counted::<V6>(&node, *reason);
        }
    }
}

/// A packet in whose buffer there is no room before it.
struct Tight(HostPacket);

impl Packet for Tight {
    fn len(&self) -> u32 {
        self.0.len()
    }

    fn reach(&self, len: usize) {
        self.0.reach(len);
    }

    fn load<T: Field>(&self, offset: usize) -> Option<T> {
        self.0.load(offset)
    }

    fn store<T: Field>(&mut self, offset: usize, value: T) -> Option<()> {
        self.0.store(offset, value)
    }

    fn resize(&mut self, len: u32) -> Option<()> {
        self.0.resize(len)
    }

    fn is_segmented(&self) -> bool {
        self.0.is_segmented()
    }

    fn insert_header<F: Wire>(&mut self) -> Option<()> {
        None
    }

    fn remove_header<F: Wire>(&mut self) -> Option<()> {
        self.0.remove_header::<F>()
    }
}

fn no_room_is_told<F: InConfig>() {
    let front = Front { flags: service_flags::DSR, ..Front::<F>::tcp(F::external(), 443) };
    let world = World::<F>::new().service(front, &[(F::near_pod(), 8080, via::PEER)]);
    let tables: HostTables<F> = HostNode::new(&world).0;
    let frame = Frame::<F>::tcp((F::client(), 5000), (F::external(), 443), flags::SYN);
    let at = Ingress { ifindex: UPLINK, hook: Hook::NodeIngress, from_peer: false };
    let mut packet = Tight(HostPacket(frame.bytes()));
    let verdict = decide::<F, _>(&mut packet, &tables, at).expect("a hook for packets");
    assert_eq!(verdict.reason(), Reason::HelperFailed);
}

#[test]
fn a_kernel_that_refuses_to_encapsulate_is_told() {
    no_room_is_told::<V4>();
    no_room_is_told::<V6>();
}
