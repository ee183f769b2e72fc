//! Tables `endpoints4`/`endpoints6` (hash): every address that lives on this node.

use crate::Family;

/// An address on this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointKey<F: Family> {
    /// The address.
    pub addr: F::Addr,
}

/// What is behind the address: a pod's veth pair, or the node's own stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Host side of the pod's veth pair; 0 for the node's own addresses.
    pub ifindex: u32,
    /// Bits of [`endpoint_flags`].
    pub flags: u32,
    /// Number of the pod's labels for policy; 0: none.
    pub identity: u32,
    /// Bits of [`endpoint_translated`]: set by programs when they open a translated flow of this
    /// endpoint, so that packets of all others need no flow look-up. User space writes 0.
    pub translated: u32,
    /// Hardware address of the pod's own device.
    pub mac: [u8; 6],
    /// Hardware address of the host side of the veth pair.
    pub host_mac: [u8; 6],
    /// Zero.
    pub pad: u32,
}

/// Bits of [`Endpoint::flags`].
pub mod endpoint_flags {
    /// A pod: packets go to its device with `bpf_redirect_peer`.
    pub const POD: u32 = 1 << 0;
    /// The node itself: packets go to its stack.
    pub const HOST: u32 = 1 << 1;
}

/// Bits of [`Endpoint::translated`].
pub mod endpoint_translated {
    /// Packets from the endpoint may belong to a flow.
    pub const FROM: u32 = 1 << 0;
    /// Packets to the endpoint may belong to a flow.
    pub const TO: u32 = 1 << 1;
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<EndpointKey<V4>>() == 4);
    assert!(size_of::<EndpointKey<V6>>() == 16);
    assert!(size_of::<Endpoint>() == 32);
};
