//! Where a packet goes once its addresses are final.

use skep_abi::{Backend, NO_PEER, Reason, endpoint_flags, via};
use skep_packet::{Headers, Packet, decrement_ttl};

use crate::{Net, Tables, Verdict};

/// Where an address is, seen from this node.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// A pod here, behind this device.
    Pod(u32),
    /// This node, or something only its stack knows.
    Stack,
    /// Another node, by its index in `peers`.
    Peer(u32),
    /// Behind this device, by the kernel's routes.
    Device(u32),
    /// Outside of the cluster.
    World,
}

/// Finds an address in `endpoints`, then in `nodes`.
#[inline(always)]
pub(crate) fn locate<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> Place {
    if let Some(endpoint) = tables.endpoint(addr) {
        return if endpoint.flags & endpoint_flags::POD != 0 {
            Place::Pod(endpoint.ifindex)
        } else {
            Place::Stack
        };
    }
    match tables.node(addr) {
        Some(node) if node.peer == NO_PEER => Place::Stack,
        Some(node) => Place::Peer(node.peer),
        None => Place::World,
    }
}

/// Where a backend is: as its entry says, or found by its address.
#[inline(always)]
pub(crate) fn locate_backend<F: Net, T: Tables<F>>(tables: &T, backend: &Backend<F>) -> Place {
    match backend.via {
        via::POD => Place::Pod(backend.ifindex),
        via::HOST => Place::Stack,
        via::PEER => Place::Peer(backend.peer),
        via::DEVICE => Place::Device(backend.ifindex),
        _ => {
            let found = locate_apart(tables, &backend.addr);
            let argument = found as u32;
            match found >> 32 {
                0 => Place::Stack,
                1 => Place::Pod(argument),
                2 => Place::Peer(argument),
                _ => Place::World,
            }
        }
    }
}

/// [`locate`] as a function of its own in the kernel, for the sake of its callers' stack: the kind of
/// place in the upper half, its device or index in the lower (see [`Verdict`] for why no enum).
#[inline(never)]
fn locate_apart<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> u64 {
    match locate(tables, addr) {
        Place::Stack => 0,
        Place::Pod(ifindex) => 1 << 32 | u64::from(ifindex),
        Place::Peer(index) => 2 << 32 | u64::from(index),
        // Only a backend says so.
        Place::World | Place::Device(_) => 3 << 32,
    }
}

/// Sends a packet whose addresses are final to its place. `out` is the device towards the world.
#[inline(always)]
pub(crate) fn send<F: Net>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    place: Place,
    out: u32,
) -> Verdict {
    let verdict = match place {
        Place::Stack => return Verdict::pass(Reason::Forwarded),
        Place::Pod(ifindex) => Verdict::to_pod(ifindex),
        Place::Peer(peer) => Verdict::to_peer(peer),
        Place::Device(ifindex) => Verdict::out(ifindex),
        Place::World if out == 0 => return Verdict::pass(Reason::Forwarded),
        Place::World => Verdict::out(out),
    };
    match decrement_ttl(packet, headers) {
        Some(()) => verdict,
        None => Verdict::drop(Reason::Malformed),
    }
}

/// The index in `peers` of the node that a packet from the stack goes to: what the egress of the
/// overlay device has to know.
#[inline(always)]
pub fn peer_of<F: Net, T: Tables<F>>(packet: &impl Packet, tables: &T) -> Option<u32> {
    let dst: F::Addr = packet.load(F::DST)?;
    tables.node(&dst).map(|node| node.peer).filter(|peer| *peer != NO_PEER)
}
