//! The answer that a rejected packet becomes.

use skep_abi::{Config, Reason};
use skep_packet::{Headers, Packet, reject, tell_expired, tell_mtu};

use crate::{Net, tunnel_mtu};

/// Makes a packet that is rejected the answer to itself, addressed to its sender, by the number of the
/// reason. Nothing when it must not be answered or cannot be; then it is as it was.
#[inline(always)]
pub fn answer<F: Net>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    reason: u32,
    config: &Config,
) -> Option<()> {
    if reason == Reason::PacketTooBig as u32 {
        tell_mtu(packet, headers, tunnel_mtu::<F>(config))
    } else if reason == Reason::TtlExceeded as u32 {
        tell_expired(packet, headers)
    } else {
        reject(packet, headers)
    }
}
