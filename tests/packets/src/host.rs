//! Running cases on the engine over tables in ordinary memory.

use skep_bpf::Program;
use skep_engine::{Action, Ingress, Verdict, answer, decide, host::HostTables};
use skep_packet::{forward_ethernet, host::HostPacket, parse};

use crate::{
    case::Fate,
    world::{InConfig, NEAR_PEER, NEIGHBOUR, TICK, World},
};

/// The engine of one node.
#[derive(Debug)]
pub struct HostNode<F: InConfig>(pub HostTables<F>);

impl<F: InConfig> HostNode<F> {
    /// With the tables of a world.
    pub fn new(world: &World<F>) -> Self {
        let mut tables = HostTables::new(world.config);
        tables.now_ticks = TICK;
        tables.slots.clone_from(&world.slots);
        tables.backends.extend(&world.backends);
        tables.peers.extend(&world.peers);
        for (key, node) in &world.nodes {
            tables.nodes.push((key.prefix_len, key.addr, *node));
        }
        for key in &world.ranges {
            tables.ranges.push((key.prefix_len - 32, key.service, key.addr));
        }
        for (key, service) in &world.services {
            tables.put_service(*key, *service);
        }
        for (key, endpoint) in &world.endpoints {
            tables.put_endpoint(key.addr, *endpoint);
        }
        Self(tables)
    }

    /// The engine's verdict on a packet, which is changed along.
    pub fn decide(&self, program: Program, ifindex: u32, packet: &mut HostPacket) -> Verdict {
        let hook = program.hook().expect("packet programs have a hook");
        let at = Ingress { ifindex, hook, from_peer: false };
        decide(packet, &self.0, at).expect("cases are for packets")
    }

    /// What becomes of a packet, and what is left of it.
    pub fn run(&self, program: Program, ifindex: u32, packet: &[u8]) -> (Fate, Vec<u8>) {
        let mut packet = HostPacket(packet.to_vec());
        let verdict = self.decide(program, ifindex, &mut packet);
        let fate = match verdict.action() {
            Action::Pass => Fate::Pass,
            Action::Drop => Fate::Drop,
            // The only neighbour is the near node: the hook behind XDP sends what XDP cannot.
            Action::Out if program == Program::Xdp => Fate::Pass,
            Action::ToPeer | Action::ToTunnel if program == Program::Xdp => {
                if verdict.argument() != NEAR_PEER {
                    return (Fate::Pass, packet.0);
                }
                forward_ethernet(&mut packet, NEIGHBOUR).expect("a frame has an Ethernet header");
                Fate::Redirect
            }
            Action::ToPod | Action::ToPeer | Action::ToTunnel | Action::Out => Fate::Redirect,
            Action::Reject => {
                let headers = parse::<F>(&packet).expect("what is rejected was read");
                let (reason, config) = (verdict.reason_number(), &self.0.config);
                match answer(&mut packet, &headers, reason, config) {
                    Some(()) => Fate::Redirect,
                    None => Fate::Drop,
                }
            }
            Action::Unwrap | Action::Error | Action::Open | Action::Route => {
                panic!("a hook's last function never asks for another")
            }
        };
        (fate, packet.0)
    }
}
