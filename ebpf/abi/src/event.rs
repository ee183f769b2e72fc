//! Table `events` (ring buffer): what is worth telling at once.

/// One event. Those that find the ring full are gone, and counted under
/// [`crate::Reason::EventLost`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The kernel's monotonic clock.
    pub time_ns: u64,
    /// Source address before translation; IPv4 in the first word.
    pub src: [u32; 4],
    /// Destination address before translation.
    pub dst: [u32; 4],
    /// Source port.
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
    /// A packet was dropped or rejected.
    pub const DROP: u8 = 1;
    /// A connection to a Service was opened.
    pub const FLOW: u8 = 2;
}

const _: () = assert!(size_of::<Event>() == 72);
