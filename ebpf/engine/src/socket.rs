//! Translation at the socket: once per connection (or datagram of an unconnected socket), nothing per
//! packet.

use skep_abi::{Reason, ServiceKey, SocketKey, SocketPeer, scope, service_flags};

use crate::{
    Action, Net, Tables, Verdict,
    net::is_in,
    service::{self, Choice, Client},
};

/// What a socket's address becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketVerdict<F: Net> {
    /// Stays.
    Pass,
    /// This one.
    To {
        /// The backend's address.
        addr: F::Addr,
        /// Its port.
        port_be: u16,
    },
    /// The call fails as if nobody listened.
    Refuse(Reason),
    /// The call fails as if there were no way there: the address must not leave the node.
    Drop(Reason),
}

/// A socket that connects or sends to `addr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<F: Net> {
    /// The address it names.
    pub addr: F::Addr,
    /// The port it names.
    pub port_be: u16,
    /// Its protocol.
    pub proto: u8,
    /// Its cookie.
    pub cookie: u64,
    /// The cookie of its network namespace.
    pub netns_cookie: u64,
    /// A random number.
    pub random: u32,
}

/// Chooses the backend for a call.
#[inline(always)]
pub fn connect<F: Net, T: Tables<F>>(tables: &T, call: &Call<F>) -> SocketVerdict<F> {
    let Some(config) = tables.config() else { return SocketVerdict::Pass };
    let key = ServiceKey {
        addr: call.addr,
        port_be: call.port_be,
        proto: call.proto,
        scope: scope::INTERNAL,
    };
    let Some(service) = tables.service(&key) else {
        let net = F::config(&config);
        if !is_in::<F>(&call.addr, &net.services, &net.services_mask) {
            return SocketVerdict::Pass;
        }
        return refusal(service::unknown(tables, &call.addr, scope::INTERNAL));
    };
    if service.flags & service_flags::SOURCE_RANGES != 0 {
        let net = F::config(&config);
        // A pod's socket has no address yet, but its packets will: the hook at the pod translates them.
        if call.netns_cookie != config.netns_cookie && net.pods_mask != F::Addr::default() {
            return SocketVerdict::Pass;
        }
        if !service::admits(tables, &service, &net.node) {
            return SocketVerdict::Drop(Reason::SourceNotAllowed);
        }
    }
    let client = Client::Namespace(call.netns_cookie);
    match service::choose(tables, &service, call.random, client, config.ticks_per_s) {
        Choice::Backend { id, backend } => {
            let (addr, port_be) = (backend.addr, backend.port_be);
            let key = SocketKey { cookie: call.cookie, addr, port_be, ..SocketKey::default() };
            let peer = SocketPeer {
                addr: call.addr,
                port_be: call.port_be,
                pad: 0,
                service: service.id,
                backend: id,
            };
            tables.note_socket(&key, &peer);
            SocketVerdict::To { addr, port_be }
        }
        Choice::None(verdict) => refusal(verdict),
    }
}

#[inline(always)]
fn refusal<F: Net>(verdict: Verdict) -> SocketVerdict<F> {
    match verdict.action() {
        Action::Reject => SocketVerdict::Refuse(verdict.reason()),
        _ => SocketVerdict::Drop(verdict.reason()),
    }
}

/// The address that a socket believes to hear from, when a datagram comes from `addr` or it asks for
/// its peer.
#[inline(always)]
pub fn believed_peer<F: Net, T: Tables<F>>(
    tables: &T,
    cookie: u64,
    addr: F::Addr,
    port_be: u16,
) -> Option<(F::Addr, u16)> {
    let key = SocketKey { cookie, addr, port_be, ..SocketKey::default() };
    tables.socket(&key).map(|peer| (peer.addr, peer.port_be))
}
