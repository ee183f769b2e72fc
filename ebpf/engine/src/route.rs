//! Where a packet goes once its addresses are final.

use skep_abi::{Backend, NO_PEER, Reason, endpoint_flags, via};
use skep_packet::Packet;

use crate::{Net, Tables, Verdict};

/// Where an address is, seen from this node: a kind and a device or index.
///
/// One word instead of an enum with data, made without a branch where a table tells it: the verifier
/// walks what follows once for each kind that it can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// Outside of the cluster: a kind that no backend has.
const WORLD: u64 = 1 << 8;

impl Place {
    /// This node, or something only its stack knows.
    pub(crate) const STACK: Self = Self((via::HOST as u64) << 32);
    /// Outside of the cluster.
    pub(crate) const WORLD: Self = Self(WORLD << 32);

    /// A pod here, behind this device.
    #[inline(always)]
    pub(crate) fn pod(ifindex: u32) -> Self {
        Self(u64::from(via::POD) << 32 | u64::from(ifindex))
    }

    /// Another node, by its index in `peers`.
    #[inline(always)]
    fn peer(index: u32) -> Self {
        Self(u64::from(via::PEER) << 32 | u64::from(index))
    }

    #[inline(always)]
    fn kind(self) -> u64 {
        self.0 >> 32
    }

    /// Whether it is a pod here.
    #[inline(always)]
    pub(crate) fn is_pod(self) -> bool {
        self.kind() == u64::from(via::POD)
    }

    /// Whether it is another node.
    #[inline(always)]
    pub(crate) fn is_peer(self) -> bool {
        self.kind() == u64::from(via::PEER)
    }

    /// Whether it is this node.
    #[inline(always)]
    pub(crate) fn is_stack(self) -> bool {
        self == Self::STACK
    }

    /// Whether it is outside of the cluster.
    #[inline(always)]
    pub(crate) fn is_world(self) -> bool {
        self == Self::WORLD
    }

    /// The device or index.
    #[inline(always)]
    pub(crate) fn argument(self) -> u32 {
        self.0 as u32
    }

    /// The verdict that sends a packet there; `out` is the device towards the world.
    #[inline(always)]
    pub(crate) fn verdict(self, out: u32) -> Verdict {
        if self.is_pod() {
            Verdict::to_pod(self.argument())
        } else if self.is_peer() {
            Verdict::to_peer(self.argument())
        } else if self.is_stack() {
            Verdict::pass(Reason::Forwarded)
        } else {
            let device = if self.is_world() { out } else { self.argument() };
            if device == 0 { Verdict::pass(Reason::Forwarded) } else { Verdict::out(device) }
        }
    }
}

/// Finds an address in `endpoints`, then in `nodes`.
#[inline(always)]
pub(crate) fn locate<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> Place {
    if let Some(endpoint) = tables.endpoint(addr) {
        let is_pod = endpoint.flags & endpoint_flags::POD != 0;
        return if is_pod { Place::pod(endpoint.ifindex) } else { Place::STACK };
    }
    match tables.node(addr) {
        Some(node) if node.peer == NO_PEER => Place::STACK,
        Some(node) => Place::peer(node.peer),
        None => Place::WORLD,
    }
}

/// Whether it is an address of the node itself.
#[inline(always)]
pub(crate) fn is_own<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> bool {
    tables.endpoint(addr).is_some_and(|endpoint| endpoint.flags & endpoint_flags::HOST != 0)
}

/// Where a backend is: as its entry says, or found by its address.
#[inline(always)]
pub(crate) fn locate_backend<F: Net, T: Tables<F>>(tables: &T, backend: &Backend<F>) -> Place {
    if backend.via == via::LOOKUP {
        return Place(locate_apart(tables, &backend.addr));
    }
    // At most one of the two is not 0.
    Place(u64::from(backend.via) << 32 | u64::from(backend.ifindex | backend.peer))
}

/// [`locate`] as a function of its own in the kernel, for the sake of its callers' stack.
#[inline(never)]
fn locate_apart<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> u64 {
    locate(tables, addr).0
}

/// The index in `peers` of the node that a packet from the stack goes to: what the egress of the
/// overlay device has to know.
#[inline(always)]
pub fn peer_of<F: Net, T: Tables<F>>(packet: &impl Packet, tables: &T) -> Option<u32> {
    let dst: F::Addr = packet.load(F::DST)?;
    tables.node(&dst).map(|node| node.peer).filter(|peer| *peer != NO_PEER)
}

/// Whether a packet is for neighbours on its link only (neighbour discovery, multicast).
#[inline(always)]
pub fn stays_on_link<F: Net>(packet: &impl Packet) -> bool {
    packet.load(F::DST).is_some_and(|dst| F::is_link_scope(&dst))
}
