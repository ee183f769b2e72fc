//! The hooks on the node's devices and on the overlay device.

use skep_abi::{Config, Reason, Service, config_flags, endpoint_translated, proto, scope};
use skep_packet::{Headers, Kind, Packet};

use crate::{
    FlowTable, Ingress, Net, Step, Tables, Verdict,
    error::{self, is_error},
    follow::{follow_known, open_service},
    net::{is_in, is_port_in},
    pod::restore_source,
    route, service,
    step::read,
    tunnel::{self, is_wrapped},
    verdict::Context,
};

/// A packet that came in by a device of the node or by the overlay, at XDP or TCX ingress: known
/// connections, pods, and what is none of the datapath's business.
#[inline(always)]
pub fn from_node<F: Net, T: Tables<F>>(
    packet: &impl Packet,
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else {
        return Verdict::pass(Reason::NotConfigured);
    };
    let net = F::config(&config);
    let Step { headers, change } = step;
    if net.node == F::Addr::default() || F::is_link_scope(&headers.dst) {
        return Verdict::PASS;
    }
    let context = &Context { at, config: &config };
    let mut table = FlowTable::Flows;
    let mut pod = 0;
    if is_in::<F>(&headers.dst, &net.cluster, &net.cluster_mask) {
        let Some(endpoint) = tables.endpoint(&headers.dst) else {
            return Verdict::PASS;
        };
        pod = endpoint.ifindex;
        if pod == 0 || headers.ttl <= 1 {
            return Verdict::PASS;
        }
        let is_translated = endpoint.translated & endpoint_translated::TO != 0;
        if is_translated && is_error(headers) {
            return error::ask(at);
        }
        if !is_translated || !headers.is_translatable() {
            return into_pod(pod, at);
        }
    } else if is_wrapped(headers, net, at) {
        let is_for_next_hook = !at.can_encapsulate() && tunnel::holds_icmp(packet, headers);
        return if is_for_next_hook { Verdict::PASS } else { Verdict::UNWRAP };
    } else if !headers.is_translatable() {
        return untranslatable(tables, headers, context);
    } else if is_overlay(headers, &config) {
        return Verdict::PASS;
    } else if headers.dst == net.node {
        // Most of what comes to the node's own address is the host's: ask for a Service before a flow
        // there, unless the port tells, and for a flow first everywhere else.
        if is_port_in(headers.dport_be, config.snat_ports) {
            table = FlowTable::Snat;
        } else if !is_port_in(headers.dport_be, config.node_ports)
            && !is_service(tables, headers, context)
        {
            return Verdict::PASS;
        }
    }
    if let Some(verdict) = follow_known(tables, headers, packet.len(), table, context, change) {
        return verdict;
    }
    if pod != 0 {
        return into_pod(pod, at);
    }
    if is_service(tables, headers, context) {
        return Verdict::OPEN;
    }
    let unassigned = is_in::<F>(&headers.dst, &net.services, &net.services_mask);
    if unassigned { Verdict::OPEN } else { Verdict::PASS }
}

/// What [`from_node`] left with [`Verdict::UNWRAP`]: a packet that another node sent on for a backend
/// here. It is no such packet where the verdict is to pass; then it is as it was, and the stack's.
#[inline(always)]
pub fn from_peer<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::pass(Reason::NotConfigured) };
    if tunnel::unwrap(packet, tables, &step.headers).is_none() {
        return Verdict::PASS;
    }
    if !read(packet, tables, step) {
        return Verdict::drop(Reason::Malformed);
    }
    let Step { headers, change } = step;
    if is_error(headers) {
        return Verdict::ERROR;
    }
    if !headers.is_translatable() {
        let is_fragment = headers.kind == Kind::Fragment;
        let reason = if is_fragment { Reason::Fragment } else { Reason::UnsupportedProtocol };
        return Verdict::drop(reason);
    }
    let context = &Context { at: Ingress { from_peer: true, ..at }, config: &config };
    follow_known(tables, headers, packet.len(), FlowTable::Flows, context, change)
        .unwrap_or(Verdict::OPEN)
}

/// What [`from_node`] and [`from_peer`] left: new connections to a Service, and what has an address in
/// the range of Services.
#[inline(always)]
pub fn open_from_node<F: Net, T: Tables<F>>(
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::pass(Reason::NotConfigured) };
    let (Step { headers, change }, context) = (step, &Context { at, config: &config });
    let net = F::config(&config);
    match lookup(tables, headers, context) {
        Some(service) => open_service(tables, headers, &service, context, change),
        None if at.from_peer => Verdict::drop(Reason::UnknownService),
        None if is_in::<F>(&headers.dst, &net.services, &net.services_mask) => {
            service::unknown(tables, &headers.dst, scope::EXTERNAL)
        }
        None => Verdict::PASS,
    }
}

/// A packet without ports, to no pod. One to a Service's address that cannot be told to whom it belongs
/// must not get on half translated, after its first piece was.
#[inline(always)]
fn untranslatable<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    context: &Context<'_>,
) -> Verdict {
    if is_error(headers) {
        return error::ask(context.at);
    }
    if headers.kind != Kind::Fragment {
        return Verdict::PASS;
    }
    let net = F::config(context.config);
    let any = |scope| service::lookup(tables, &headers.dst, 0, proto::ANY, scope).is_some();
    let is_service = is_in::<F>(&headers.dst, &net.services, &net.services_mask)
        || any(scope_of(headers, context));
    if is_service { Verdict::drop(Reason::Fragment) } else { Verdict::PASS }
}

/// What the sender of a packet sees: pods of somebody else's network come in by devices, too.
#[inline(always)]
fn scope_of<F: Net>(headers: &Headers<F>, context: &Context<'_>) -> u8 {
    let net = F::config(context.config);
    let inside = is_in::<F>(&headers.src, &net.pods, &net.pods_mask);
    if inside { scope::INTERNAL } else { scope::EXTERNAL }
}

/// Whether the packet goes to a front end.
#[inline(always)]
fn is_service<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    context: &Context<'_>,
) -> bool {
    lookup(tables, headers, context).is_some()
}

/// The front end as the sender sees it.
#[inline(always)]
fn lookup<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    context: &Context<'_>,
) -> Option<T::Ref<Service>> {
    if context.at.from_peer {
        return tunnel::lookup(tables, headers, F::config(context.config));
    }
    let (port_be, proto, scope) = (headers.dport_be, headers.proto, scope_of(headers, context));
    service::lookup(tables, &headers.dst, port_be, proto, scope)
}

/// Into a pod of this node, from the hooks that reach there. XDP does not; the hook behind it does.
#[inline(always)]
fn into_pod(ifindex: u32, at: Ingress) -> Verdict {
    if at.can_encapsulate() { Verdict::to_pod(ifindex) } else { Verdict::PASS }
}

/// Whether the packet is another node's encapsulated one.
#[inline(always)]
fn is_overlay<F: Net>(headers: &Headers<F>, config: &Config) -> bool {
    headers.proto == proto::UDP
        && config.overlay_port != 0
        && u32::from(u16::from_be(headers.dport_be)) == config.overlay_port
}

/// A packet that the node's stack sends out of one of its devices: a reply of a Service's backend in
/// the host network goes back under the Service's address. What no socket hook sees, SCTP, goes to
/// Services from here.
#[inline(always)]
pub fn to_node<F: Net, T: Tables<F>>(
    packet: &impl Packet,
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::PASS };
    let Step { headers, change } = step;
    let is_sctp = headers.kind == Kind::Sctp;
    if config.flags & config_flags::HOST_BACKENDS == 0 && !is_sctp {
        return Verdict::PASS;
    }
    if headers.src != F::config(&config).node && !route::is_own(tables, &headers.src) {
        return Verdict::PASS;
    }
    if is_error(headers) {
        return Verdict::ERROR;
    }
    if is_sctp {
        let context = &Context { at, config: &config };
        return follow_known(tables, headers, packet.len(), FlowTable::Flows, context, change)
            .unwrap_or(Verdict::OPEN);
    }
    restore_source(tables, headers, packet.len(), change)
}

/// What [`to_node`] left: new connections to a Service.
#[inline(always)]
pub fn open_from_host<F: Net, T: Tables<F>>(
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::PASS };
    let Step { headers, change } = step;
    let (port_be, proto) = (headers.dport_be, headers.proto);
    match service::lookup(tables, &headers.dst, port_be, proto, scope::INTERNAL) {
        Some(service) => {
            let context = &Context { at, config: &config };
            open_service(tables, headers, &service, context, change)
        }
        None => Verdict::PASS,
    }
}
