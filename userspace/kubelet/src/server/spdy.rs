//! The client's half of SPDY/3.1, as far as a container runtime's streaming server needs it: a few
//! streams opened at once, data both ways, ends. Flow control is TCP's: those servers have no other.

pub(super) mod frame;
pub(super) mod headers;
