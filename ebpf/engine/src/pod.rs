//! The hooks on the host side of a pod's veth pair.

use skep_abi::{Config, Reason, config_flags, endpoint_flags, endpoint_translated, scope};
use skep_packet::{Headers, Kind, Packet};

use crate::{
    FlowTable, Ingress, Net, Step, Tables, Verdict,
    error::is_error,
    flow::{self, find},
    follow::{follow_known, open_masquerade, open_service},
    net::{is_in, is_port_in},
    route, service,
    step::Change,
    verdict::Context,
};

/// A packet that a pod sent, at the ingress of the host side of its veth pair: known connections, and
/// addresses that need no translation.
#[inline(always)]
pub fn from_pod<F: Net, T: Tables<F>>(
    packet: &impl Packet,
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else {
        return Verdict::pass(Reason::NotConfigured);
    };
    let Step { headers, change } = step;
    // Neighbour discovery, multicast and the gateway's own address are between pod and node.
    if F::is_link_scope(&headers.dst) || F::is_link_scope(&headers.src) {
        return Verdict::PASS;
    }
    let Some(own) = tables.endpoint(&headers.src) else {
        return Verdict::drop(Reason::SpoofedSource);
    };
    if own.ifindex != at.ifindex {
        return Verdict::drop(Reason::SpoofedSource);
    }
    let net = F::config(&config);
    let is_translated = own.translated & endpoint_translated::FROM != 0;
    if is_translated && is_error(headers) {
        return Verdict::ERROR;
    }
    if is_translated && headers.is_translatable() {
        // A pod that reached itself through its Service answers the node's address.
        let to_snat = headers.dst == net.node && is_port_in(headers.dport_be, config.snat_ports);
        let table = if to_snat { FlowTable::Snat } else { FlowTable::Flows };
        let context = &Context { at, config: &config };
        if let Some(verdict) = follow_known(tables, headers, packet.len(), table, context, change) {
            return verdict;
        }
    }
    route_untranslated(tables, headers, &config)
}

/// What is of no known connection: to pods of the cluster straight away.
#[inline(always)]
pub(crate) fn route_untranslated<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    config: &Config,
) -> Verdict {
    let net = F::config(config);
    if !is_in::<F>(&headers.dst, &net.cluster, &net.cluster_mask) {
        return Verdict::OPEN;
    }
    let place = route::locate(tables, &headers.dst);
    // The stack answers packets whose time is over.
    if place.is_world() || headers.ttl <= 1 {
        return Verdict::PASS;
    }
    place.verdict(config.uplink_ifindex)
}

/// What [`from_pod`] left: new connections to a Service.
#[inline(always)]
pub fn open_from_pod<F: Net, T: Tables<F>>(tables: &T, at: Ingress, step: &mut Step<F>) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::pass(Reason::NotConfigured) };
    let Step { headers, change } = step;
    let net = F::config(&config);
    let unassigned = is_in::<F>(&headers.dst, &net.services, &net.services_mask);
    if headers.kind == Kind::Fragment {
        return if unassigned { Verdict::drop(Reason::Fragment) } else { Verdict::ROUTE };
    }
    let (port_be, proto) = (headers.dport_be, headers.proto);
    if let Some(service) = service::lookup(tables, &headers.dst, port_be, proto, scope::INTERNAL) {
        let context = &Context { at, config: &config };
        return open_service(tables, headers, &service, context, change);
    }
    if unassigned {
        return service::unknown(tables, &headers.dst, scope::INTERNAL);
    }
    Verdict::ROUTE
}

/// What [`open_from_pod`] left: the nodes and the world.
#[inline(always)]
pub fn route_from_pod<F: Net, T: Tables<F>>(tables: &T, step: &mut Step<F>) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::pass(Reason::NotConfigured) };
    let Step { headers, change } = step;
    let place = route::locate(tables, &headers.dst);
    if headers.ttl <= 1 || place.is_stack() {
        return Verdict::PASS;
    }
    if !place.is_world() {
        return place.verdict(config.uplink_ifindex);
    }
    if config.flags & config_flags::MASQUERADE == 0 {
        return Verdict::PASS;
    }
    // Only what opens a connection is given a flow: an answer to one that came in untranslated has
    // none and needs none.
    if headers.opens() {
        return open_masquerade(tables, headers, &config, change);
    }
    match headers.kind {
        Kind::Fragment | Kind::Continuation => Verdict::drop(Reason::Fragment),
        _ => Verdict::PASS,
    }
}

/// A packet that the node's stack sends to a pod, at the egress of the host side of its veth pair.
#[inline(always)]
pub fn to_pod<F: Net, T: Tables<F>>(
    packet: &impl Packet,
    tables: &T,
    step: &mut Step<F>,
) -> Verdict {
    let Step { headers, change } = step;
    let Some(endpoint) = tables.endpoint(&headers.dst) else { return Verdict::PASS };
    let translated = endpoint.flags & endpoint_flags::POD != 0
        && endpoint.translated & endpoint_translated::TO != 0;
    if !translated {
        return Verdict::PASS;
    }
    if is_error(headers) {
        return Verdict::ERROR;
    }
    restore_source(tables, headers, packet.len(), change)
}

/// Gives a reply from the node's own stack the address that its client used.
#[inline(always)]
pub(crate) fn restore_source<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    bytes: u32,
    change: &mut Change<F>,
) -> Verdict {
    if !headers.is_translatable() {
        return Verdict::PASS;
    }
    let seen = flow::seen(headers, bytes, tables.now_ticks());
    let Some(found) = find(tables, FlowTable::Flows, headers, &seen, &mut change.to) else {
        return Verdict::PASS;
    };
    if found.refused != Reason::Forwarded as u32 {
        return Verdict::drop_by_number(found.refused);
    }
    if flow::answers_anothers(tables, headers, &change.to, &found) {
        flow::forget(tables, headers, &change.to, found.flags);
        return Verdict::PASS;
    }
    change.translate();
    Verdict::pass(Reason::Forwarded)
}
