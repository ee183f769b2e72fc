//! Tables `sockets4`/`sockets6` (LRU): which Service address a socket believes to talk to.

use crate::Family;

/// A socket and the backend that its datagrams come from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketKey<F: Family> {
    /// The socket's cookie.
    pub cookie: u64,
    /// The backend's address.
    pub addr: F::Addr,
    /// The backend's port.
    pub port_be: u16,
    /// Zero.
    pub pad: u16,
    /// Zero; fills IPv6 keys up to 8 bytes.
    pub pad4: F::Pad4,
}

/// What the program behind the socket must see instead.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketPeer<F: Family> {
    /// The Service address.
    pub addr: F::Addr,
    /// The Service port.
    pub port_be: u16,
    /// Zero.
    pub pad: u16,
    /// [`crate::Service::id`].
    pub service: u32,
    /// The backend's id.
    pub backend: u32,
}

const _: () = {
    use crate::{V4, V6};
    assert!(size_of::<SocketKey<V4>>() == 16);
    assert!(size_of::<SocketKey<V6>>() == 32);
    assert!(size_of::<SocketPeer<V4>>() == 16);
    assert!(size_of::<SocketPeer<V6>>() == 28);
};
