//! A packet's way through the hooks of this node: which program meets it next, and where it ends.

use std::cell::RefCell;
use std::net::SocketAddr;

use anyhow::Context;
use skep_abi::{Hook, NO_PEER, Reason, Trace, TraceStep, endpoint_flags, peer_mode, proto};
use skep_bpf::{Attachment, Program, Tracer};
use skep_engine::{
    Action, Call, Ingress, Net, Notes, SocketVerdict, Tables as _, Traced, Verdict, connect,
    decide, peer_of,
};
use skep_packet::{host::HostPacket, parse};

use super::ask::{Question, Sender};
use super::live::LiveTables;
use super::packet;

/// A packet meets no more hooks of one node than these.
const MAX_LEGS: usize = 6;

/// Who answered for a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The program, run in the kernel.
    Kernel,
    /// The engine on the host over the live tables, for this reason.
    Engine(&'static str),
}

/// A hook on the way.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    pub(crate) hook: Hook,
    /// The device; 0 for sockets.
    pub(crate) ifindex: u32,
    pub(crate) by: By,
    /// Source and destination before and after.
    pub(crate) before: (SocketAddr, SocketAddr),
    pub(crate) after: (SocketAddr, SocketAddr),
    pub(crate) steps: Vec<Trace>,
    pub(crate) verdict: Verdict,
}

/// Where the packet ends, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In the pod behind this device.
    Pod(u32),
    /// With the node's own sockets.
    Node,
    /// On its way to the node with this index in `peers`.
    Peer(u32),
    /// On its way to the node with this index in `peers`, as it is, in an outer header.
    Tunnel(u32),
    /// On its way out of the cluster by this device.
    World(u32),
    /// Where only the stack's routes know.
    Stack,
    /// An address of this node's pods that none of them has.
    Nobody,
    /// Away.
    Dropped(Reason, Hook),
    /// Answered by a refusal.
    Rejected(Reason, Hook),
}

/// The whole way.
#[derive(Debug, Clone)]
pub(crate) struct Journey {
    pub(crate) legs: Vec<Leg>,
    pub(crate) end: End,
    /// The packet's source and destination where it ends.
    pub(crate) last: (SocketAddr, SocketAddr),
}

/// What a program did with a packet.
pub(crate) struct Ran {
    pub(crate) by: By,
    pub(crate) steps: Vec<Trace>,
    pub(crate) verdict: Verdict,
    pub(crate) packet: Vec<u8>,
}

/// Where a packet is next.
enum Next {
    Hook(Program, u32),
    End(End),
}

/// What a journey goes through.
pub(crate) struct Node<'a, F: Net> {
    pub(crate) live: &'a LiveTables<'a, F>,
    pub(crate) attachments: &'a [Attachment],
    /// The node's programs, where the kernel has taken them.
    pub(crate) tracer: Option<&'a RefCell<Tracer>>,
}

impl<F: Net> Node<'_, F> {
    /// Follows the first packet of a connection from its sender to where it leaves this node.
    pub(crate) fn travel(&self, question: &Question) -> anyhow::Result<Journey> {
        let mut legs = Vec::new();
        let (from, mut to) = (question.from, question.to);
        if matches!(question.sender, Sender::Pod(_) | Sender::Node)
            && question.protocol != proto::SCTP
            && self.has_sockets()
        {
            let leg = self.call(question)?;
            to = leg.after.1;
            let (verdict, last) = (leg.verdict, leg.after);
            legs.push(leg);
            if let Some(end) = refusal(verdict, Hook::Connect) {
                return Ok(Journey { legs, end, last });
            }
        }
        let side = |socket: SocketAddr| {
            let addr = F::addr_from_ip(socket.ip()).context("both addresses are of one family")?;
            anyhow::Ok((addr, socket.port()))
        };
        let mut packet = packet::first::<F>(side(from)?, side(to)?, question.protocol);
        let mut next = self.entrance(question.sender, to);
        let mut last = (from, to);
        for _ in 0..MAX_LEGS {
            let (program, ifindex) = match next {
                Next::End(end) => return Ok(Journey { legs, end, last }),
                Next::Hook(program, ifindex) => (program, ifindex),
            };
            let hook = program.hook().context("packets meet hooks that count")?;
            let before = last;
            let ran = self.run(program, hook, ifindex, &packet)?;
            packet = ran.packet;
            // In an outer header the packet itself is as it was; a refusal is another packet.
            if !matches!(ran.verdict.action(), Action::ToTunnel | Action::Reject) {
                last = sockets::<F>(&packet, before);
            }
            let Ran { by, steps, verdict, .. } = ran;
            legs.push(Leg { hook, ifindex, by, before, after: last, steps, verdict });
            next = self.after(hook, ifindex, verdict, last.1);
        }
        Ok(Journey { legs, end: End::Stack, last })
    }

    /// Whether socket programs are attached at all.
    fn has_sockets(&self) -> bool {
        self.attachments.iter().any(|link| Program::SOCKETS.contains(&link.program))
    }

    /// The sender's socket call.
    fn call(&self, question: &Question) -> anyhow::Result<Leg> {
        let to = question.to;
        let call = Call::<F> {
            addr: F::addr_from_ip(to.ip()).context("the destination's family")?,
            port_be: to.port().to_be(),
            proto: question.protocol,
            // No socket has it.
            cookie: 0,
            netns_cookie: match question.sender {
                Sender::Node => self.live.config.netns_cookie,
                _ => 0,
            },
            // Spreads over the slots as the source port does.
            random: u32::from(question.from.port()).wrapping_mul(0x9e37_79b1),
        };
        let traced = Traced::new(self.live, Notes::default());
        let said = connect(&traced, &call);
        let (verdict, after) = match said {
            SocketVerdict::Pass => (Verdict::PASS, to),
            SocketVerdict::To { addr, port_be } => {
                let backend = SocketAddr::new(F::addr_to_ip(addr), u16::from_be(port_be));
                (Verdict::pass(Reason::Forwarded), backend)
            }
            SocketVerdict::Refuse(reason) => (Verdict::reject(reason), to),
            SocketVerdict::Drop(reason) => (Verdict::drop(reason), to),
        };
        traced.notes().decided(verdict);
        Ok(Leg {
            hook: Hook::Connect,
            ifindex: 0,
            by: By::Engine("the kernel runs no socket program on request"),
            before: (question.from, to),
            after: (question.from, after),
            steps: traced.notes().steps(),
            verdict,
        })
    }

    /// The first hook for packets.
    fn entrance(&self, sender: Sender, to: SocketAddr) -> Next {
        let uplink = self.live.config.uplink_ifindex;
        match sender {
            Sender::Pod(ifindex) => Next::Hook(Program::PodIngress, ifindex),
            Sender::Node => self.stack(to),
            Sender::Peer(index) => match self.live.peer(index) {
                Some(peer) if peer.mode == peer_mode::VXLAN => {
                    Next::Hook(Program::OverlayIngress, self.live.config.overlay_ifindex)
                }
                Some(peer) if peer.ifindex != 0 => self.device(peer.ifindex),
                _ => self.device(uplink),
            },
            Sender::Outside => self.device(uplink),
        }
    }

    /// In by a device of the node: its driver first, where a program sits there.
    fn device(&self, ifindex: u32) -> Next {
        let xdp = |link: &Attachment| link.program == Program::Xdp && link.ifindex == ifindex;
        let in_driver = self.attachments.iter().any(xdp);
        Next::Hook(if in_driver { Program::Xdp } else { Program::NodeIngress }, ifindex)
    }

    /// Where the stack sends what it is given.
    fn stack(&self, to: SocketAddr) -> Next {
        let Some(addr) = F::addr_from_ip(to.ip()) else { return Next::End(End::Stack) };
        if to.ip().is_loopback() {
            return Next::End(End::Node);
        }
        if let Some(endpoint) = self.live.endpoint(&addr) {
            return if endpoint.flags & endpoint_flags::POD != 0 {
                Next::Hook(Program::PodEgress, endpoint.ifindex)
            } else {
                Next::End(End::Node)
            };
        }
        let config = &self.live.config;
        let net = F::config(config);
        let own = addr.as_ref().iter().zip(net.pods_mask.as_ref()).zip(net.pods.as_ref());
        if net.pods_mask != F::Addr::default()
            && own.map(|((word, mask), pods)| (word & mask) ^ pods).all(|rest| rest == 0)
        {
            return Next::End(End::Nobody);
        }
        match self.live.node(&addr) {
            Some(node) if node.peer == NO_PEER => Next::End(End::Stack),
            Some(node) => match self.live.peer(node.peer) {
                Some(peer) if peer.mode == peer_mode::VXLAN => {
                    Next::Hook(Program::OverlayEgress, config.overlay_ifindex)
                }
                Some(peer) => Next::Hook(Program::NodeEgress, peer.ifindex),
                None => Next::End(End::Stack),
            },
            None if config.uplink_ifindex == 0 => Next::End(End::Stack),
            None => Next::Hook(Program::NodeEgress, config.uplink_ifindex),
        }
    }

    /// Runs a program over a packet: in the kernel, or, where that refuses, the engine on the host.
    fn run(
        &self,
        program: Program,
        hook: Hook,
        ifindex: u32,
        packet: &[u8],
    ) -> anyhow::Result<Ran> {
        let Some(tracer) = self.tracer else {
            return self.decide(program, hook, ifindex, packet, "as you asked");
        };
        match tracer.borrow_mut().run(program, packet, ifindex) {
            Ok((outcome, steps)) => {
                let Some(verdict) = verdict_of(&steps) else {
                    let why =
                        "the program tells no verdict: it left the packet alone or lost steps";
                    return self.decide(program, hook, ifindex, packet, why);
                };
                Ok(Ran { by: By::Kernel, steps, verdict, packet: outcome.packet })
            }
            Err(skep_bpf::Error::Program { .. }) => {
                let why = "the kernel's verifier does not take the program with its tracing";
                self.decide(program, hook, ifindex, packet, why)
            }
            Err(skep_bpf::Error::TestRun { .. }) => {
                let why = "the kernel runs no such program with this device on request";
                self.decide(program, hook, ifindex, packet, why)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the engine on the host.
    fn decide(
        &self,
        program: Program,
        hook: Hook,
        ifindex: u32,
        packet: &[u8],
        why: &'static str,
    ) -> anyhow::Result<Ran> {
        let mut packet = HostPacket(packet.to_vec());
        let traced = Traced::new(self.live, Notes::default());
        let at = Ingress { ifindex, hook, from_peer: false };
        let verdict = match decide::<F, _>(&mut packet, &traced, at) {
            Some(verdict) => verdict,
            None => match peer_of::<F, _>(&packet, &traced) {
                Some(peer) => Verdict::to_peer(peer),
                None => Verdict::drop(Reason::InvalidPeer),
            },
        };
        traced.notes().decided(verdict);
        if let Some(error) = self.live.take_failure() {
            return Err(error).with_context(|| format!("the tables of {}", program.name()));
        }
        let (by, steps) = (By::Engine(why), traced.notes().steps());
        Ok(Ran { by, steps, verdict, packet: packet.0 })
    }

    /// What follows upon a verdict.
    fn after(&self, hook: Hook, ifindex: u32, verdict: Verdict, to: SocketAddr) -> Next {
        if let Some(end) = refusal(verdict, hook) {
            return Next::End(end);
        }
        match (hook, verdict.action()) {
            // Translated; the hook behind brings it into the pod.
            (Hook::Xdp, Action::Pass | Action::ToPod) => Next::Hook(Program::NodeIngress, ifindex),
            (_, Action::ToPod) => Next::End(End::Pod(verdict.argument())),
            (_, Action::ToPeer) => Next::End(End::Peer(verdict.argument())),
            (_, Action::ToTunnel) => Next::End(End::Tunnel(verdict.argument())),
            (_, Action::Out) => Next::End(End::World(verdict.argument())),
            (Hook::PodEgress, _) => Next::End(End::Pod(ifindex)),
            (Hook::NodeEgress, _) => Next::End(self.beyond(ifindex, to)),
            (_, _) => self.stack(to),
        }
    }

    /// Who is behind a device of the node.
    fn beyond(&self, ifindex: u32, to: SocketAddr) -> End {
        let node = F::addr_from_ip(to.ip()).and_then(|addr| self.live.node(&addr));
        match node {
            Some(node) if node.peer != NO_PEER => End::Peer(node.peer),
            _ => End::World(ifindex),
        }
    }
}

/// The verdict that a program has told, its last step.
fn verdict_of(steps: &[Trace]) -> Option<Verdict> {
    let last = steps.last().filter(|step| step.step == TraceStep::Verdict as u8)?;
    Some(Verdict::from_bits(u64::from(last.result) << 32 | u64::from(last.number)))
}

/// The end of what does not go on.
fn refusal(verdict: Verdict, hook: Hook) -> Option<End> {
    match verdict.action() {
        Action::Drop => Some(End::Dropped(verdict.reason(), hook)),
        Action::Reject => Some(End::Rejected(verdict.reason(), hook)),
        _ => None,
    }
}

/// A packet's source and destination; ports that the datapath does not know are those of before.
fn sockets<F: Net>(packet: &[u8], before: (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let Some(headers) = parse::<F>(&HostPacket(packet.to_vec())) else { return before };
    let socket = |addr, port_be, old: SocketAddr| {
        let ports = headers.sport_be != 0 || headers.dport_be != 0;
        let port = if ports { u16::from_be(port_be) } else { old.port() };
        SocketAddr::new(F::addr_to_ip(addr), port)
    };
    (
        socket(headers.src, headers.sport_be, before.0),
        socket(headers.dst, headers.dport_be, before.1),
    )
}
