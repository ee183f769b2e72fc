//! Direct server return: packets that go to the backend's node as they are, in an outer header, and
//! what that node makes of them.
//!
//! The node that chooses the backend keeps one flow, which holds the choice. The backend's node has the
//! pair that translates; replies leave it straight for the client.

use skep_abi::{Config, FamilyConfig, NO_PEER, Reason, Service, scope};
use skep_packet::{Fit, Headers, MAX_L4, Packet, encapsulate, fits_in_tunnel};

use crate::{Ingress, Net, Tables, Verdict, net::is_in, service};

/// What an uplink carries when the configuration does not tell.
const USUAL_MTU: u32 = 1500;

/// Bytes of a packet that fit into an outer header of the family.
#[inline(always)]
pub fn tunnel_mtu<F: Net>(config: &Config) -> u16 {
    (uplink_mtu(config) - F::HEADER as u32) as u16
}

#[inline(always)]
fn uplink_mtu(config: &Config) -> u32 {
    if config.uplink_mtu == 0 { USUAL_MTU } else { config.uplink_mtu }
}

/// Puts the packet into an outer header to a node. Its own header stays as it is, time to live
/// included: to client and backend there is no hop.
#[inline(always)]
pub(crate) fn wrap<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    index: u32,
) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::drop(Reason::NotConfigured) };
    match fits_in_tunnel::<F>(packet, uplink_mtu(&config)) {
        Some(Fit::Fits) => {}
        Some(Fit::TellSender) => return Verdict::reject(Reason::PacketTooBig),
        Some(Fit::TooBig) => return Verdict::drop(Reason::PacketTooBig),
        None => return Verdict::drop(Reason::Malformed),
    }
    let Some(peer) = tables.peer(index) else { return Verdict::drop(Reason::InvalidPeer) };
    let to = F::of_peer(&peer);
    if *to == F::Addr::default() {
        return Verdict::drop(Reason::InvalidPeer);
    }
    match encapsulate::<F>(packet, &F::config(&config).node, to) {
        Some(()) => Verdict::to_tunnel(index),
        None => Verdict::drop(Reason::HelperFailed),
    }
}

/// Whether the packet is another node's in an outer header to this one: [`unwrap`] looks closer.
#[inline(always)]
pub(crate) fn is_wrapped<F: Net>(headers: &Headers<F>, net: &FamilyConfig<F>, at: Ingress) -> bool {
    headers.proto == F::TUNNEL && headers.dst == net.node && at.is_device()
}

/// Whether what is in the outer header of a packet with these headers is an ICMP message.
#[inline(always)]
pub(crate) fn holds_icmp<F: Net>(packet: &impl Packet, headers: &Headers<F>) -> bool {
    // The protocol, or IPv6's next header.
    let field = if F::VERSION == 4 { 9 } else { 6 };
    // As far as headers go; the verifier has to be told.
    headers.l4 <= MAX_L4
        && packet.load::<u8>(headers.l4 + field).is_some_and(|proto| proto == F::ICMP)
}

/// Takes the outer header away, if it is a known node's.
#[inline(always)]
pub(crate) fn unwrap<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    headers: &Headers<F>,
) -> Option<()> {
    let node = tables.node(&headers.src)?;
    if node.peer == NO_PEER || node.is_host == 0 || headers.has_options() {
        return None;
    }
    packet.remove_header::<F>()
}

/// The front end that a packet from another node goes to. That node looked it up under an address of
/// its own when it is a node port: here it stands under this node's.
#[inline(always)]
pub(crate) fn lookup<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    net: &FamilyConfig<F>,
) -> Option<T::Ref<Service>> {
    let (port_be, proto) = (headers.dport_be, headers.proto);
    let found = service::lookup(tables, &headers.dst, port_be, proto, scope::LOCAL);
    found.or_else(|| service::lookup(tables, &net.node, port_be, proto, scope::LOCAL))
}

/// The device by which a backend here answers a client whose packets come by way of another node; 0:
/// as routes say, for clients inside of the cluster.
#[inline(always)]
pub(crate) fn return_ifindex<F: Net>(headers: &Headers<F>, config: &Config) -> u32 {
    let net = F::config(config);
    let inside = is_in::<F>(&headers.src, &net.cluster, &net.cluster_mask);
    if inside { 0 } else { config.uplink_ifindex }
}
