//! Table `events` (ring buffer): what is worth telling at once; and table `listeners` (array of one):
//! whether anybody listens.

/// One event. Those that find the ring full are gone, and counted under
/// [`crate::Reason::EventLost`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The kernel's monotonic clock.
    pub time_ns: u64,
    /// The network namespace of a socket; 0 for packets.
    pub netns_cookie: u64,
    /// Source address before translation; IPv4 in the first word. Of a socket, which has none yet, the
    /// address that it is connected to instead ([`event_kind::CALL`]), or zero.
    pub src: [u32; 4],
    /// Destination address before translation.
    pub dst: [u32; 4],
    /// Source port, of the same meaning.
    pub sport_be: u16,
    /// Destination port.
    pub dport_be: u16,
    /// A number of [`crate::proto`].
    pub proto: u8,
    /// 4 or 6.
    pub version: u8,
    /// A number of [`event_kind`].
    pub kind: u8,
    /// A number of [`crate::Reason`].
    pub reason: u8,
    /// A number of [`crate::Hook`].
    pub hook: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub pad16: u16,
    /// Device the packet came in by.
    pub ifindex: u32,
    /// Bytes of the packet.
    pub len: u32,
    /// [`crate::Service::id`], or 0.
    pub service: u32,
    /// The chosen backend, or [`crate::NO_BACKEND`].
    pub backend: u32,
    /// Zero.
    pub pad4: u32,
}

/// Numbers of [`Event::kind`].
pub mod event_kind {
    /// A packet was dropped or rejected, or a socket's call refused.
    pub const DROP: u8 = 1;
    /// A packet opened a connection to a Service.
    pub const FLOW: u8 = 2;
    /// A socket was connected to a Service's backend.
    pub const CALL: u8 = 3;
}

/// Until when events are wanted, by the kernel's monotonic clock. Whoever listens keeps this ahead of the
/// clock, a few seconds at a time: when he is gone, even by a kill, programs soon report nothing more.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Opened connections, [`event_kind::FLOW`] and [`event_kind::CALL`]; 0: never.
    pub opened_until_ns: u64,
    /// [`event_kind::DROP`]; 0: never.
    pub dropped_until_ns: u64,
}

const _: () = {
    assert!(size_of::<Event>() == 80);
    assert!(size_of::<Listeners>() == 16);
};
