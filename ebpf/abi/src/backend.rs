//! Tables `backends4`/`backends6` (mmapable arrays in chunks, index = backend id): where a Service's traffic
//! goes.

use crate::Family;

/// Backends in one chunk, 64 or 128 KiB: id `n` is in chunk `n / BACKENDS_PER_CHUNK`. The chunks are the
/// entries of `backend_chunks4`/`backend_chunks6`, to which user space adds as it needs ids; none ever goes.
pub const BACKENDS_PER_CHUNK: u32 = 1 << 12;

/// One address and port that serves; the id is its index.
///
/// A slot of all zeroes is unused. While an id is reachable from a run of `slots` or from a flow only
/// [`Backend::state`], [`Backend::via`], [`Backend::ifindex`] and [`Backend::peer`] may change; an id is
/// given to another address only after a grace period in [`backend_state::GONE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend<F: Family> {
    /// The backend's address.
    pub addr: F::Addr,
    /// The backend's port.
    pub port_be: u16,
    /// A number of [`backend_state`].
    pub state: u8,
    /// A number of [`via`]: how packets reach it.
    pub via: u8,
    /// [`via::POD`]: the host side of the pod's veth pair. [`via::DEVICE`]: the device. Otherwise 0.
    pub ifindex: u32,
    /// [`via::PEER`]: index in `peers` of the node it runs on. Otherwise 0.
    pub peer: u32,
}

/// Numbers of [`Backend::state`].
pub mod backend_state {
    /// The id is not in use.
    pub const UNUSED: u8 = 0;
    /// Takes new connections and keeps old ones.
    pub const READY: u8 = 1;
    /// Keeps old connections; new ones only because its id stands in the run.
    pub const TERMINATING: u8 = 2;
    /// Removed: packets of old connections are answered with a reset or ICMP error.
    pub const GONE: u8 = 3;
}

/// Numbers of [`Backend::via`].
pub mod via {
    /// Not known here: programs look the address up in `endpoints` and `nodes` (correct, slower).
    pub const LOOKUP: u8 = 0;
    /// A pod on this node, behind [`super::Backend::ifindex`].
    pub const POD: u8 = 1;
    /// This node itself (host network).
    pub const HOST: u8 = 2;
    /// A pod or host on the node [`super::Backend::peer`].
    pub const PEER: u8 = 3;
    /// Behind [`super::Backend::ifindex`], by the kernel's own routes (somebody else's pod network).
    pub const DEVICE: u8 = 4;
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<Backend<V4>>() == 16);
    assert!(size_of::<Backend<V6>>() == 28);
};
