//! ICMP errors: they go where the answers to the packet that they quote go, under the addresses that its
//! sender knows.

use skep_abi::{Hook, Reason, Service, scope, service_flags};
use skep_packet::{Headers, Kind, Packet, answer_to_quoted, rewrite_quoted};

use crate::{
    FlowTable, Ingress, Net, Step, Tables, Verdict, flow,
    follow::{SLOT_SEED, follow_quoted},
    hash,
    net::is_port_in,
    pod::route_untranslated,
    route,
    service::{self, Choice, Client},
    step::Change,
    verdict::Context,
};

/// What an entry point left with [`Verdict::ERROR`]. The error is translated here: in the kernel this is
/// a function of its own, so that no other packet pays for it.
#[inline(always)]
pub fn follow_error<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    at: Ingress,
    step: &mut Step<F>,
) -> Verdict {
    let Some(config) = tables.config() else { return Verdict::pass(Reason::NotConfigured) };
    let Step { headers, change } = step;
    let context = &Context { at, config: &config };
    let Some(mut answer) = answer_to_quoted(packet, headers) else {
        return of_no_flow(tables, headers, context);
    };
    // Which of the two has how many hops left is of no meaning to the flow, but to this packet.
    answer.ttl = headers.ttl;
    match follow(tables, &answer, packet.len(), context, change) {
        Some(verdict) if change.takes_translation() => {
            match rewrite_quoted(packet, &answer, &change.to) {
                Some(()) => verdict,
                None => Verdict::drop(Reason::Malformed),
            }
        }
        Some(verdict) => verdict,
        None if at.is_device() && !at.from_peer => to_chosen(tables, &answer, context)
            .unwrap_or_else(|| of_no_flow(tables, headers, context)),
        None => of_no_flow(tables, headers, context),
    }
}

/// Where the answers of the connection go.
#[inline(always)]
fn follow<F: Net, T: Tables<F>>(
    tables: &T,
    answer: &Headers<F>,
    bytes: u32,
    context: &Context<'_>,
    change: &mut Change<F>,
) -> Option<Verdict> {
    let Context { at, config } = *context;
    if matches!(at.hook, Hook::PodEgress | Hook::NodeEgress) {
        let seen = flow::seen(answer, bytes, tables.now_ticks());
        flow::find_quoted(tables, FlowTable::Flows, answer, &seen, &mut change.to)?;
        change.translate();
        return Some(Verdict::pass(Reason::Forwarded));
    }
    let to_snat =
        answer.dst == F::config(config).node && is_port_in(answer.dport_be, config.snat_ports);
    let table = if to_snat { FlowTable::Snat } else { FlowTable::Flows };
    follow_quoted(tables, answer, bytes, table, context, change)
}

/// An error about a packet of no connection that is translated here.
#[inline(always)]
fn of_no_flow<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    context: &Context<'_>,
) -> Verdict {
    let Context { at, config } = *context;
    match at.hook {
        Hook::PodIngress => route_untranslated(tables, headers, config),
        // The other node took its backend to be here.
        _ if at.from_peer => Verdict::drop(Reason::BackendGone),
        Hook::NodeIngress | Hook::OverlayIngress if headers.ttl > 1 => {
            let ifindex = tables.endpoint(&headers.dst).map_or(0, |endpoint| endpoint.ifindex);
            if ifindex == 0 { Verdict::PASS } else { Verdict::to_pod(ifindex) }
        }
        _ => Verdict::PASS,
    }
}

/// An error about an answer under the address of a Service with direct return, met by a node that holds
/// no flow of the connection: routers in front spread errors and connections over the nodes in different
/// ways. The nodes choose alike, so it is sent on as the connection's own packets would be.
#[inline(always)]
fn to_chosen<F: Net, T: Tables<F>>(
    tables: &T,
    answer: &Headers<F>,
    context: &Context<'_>,
) -> Option<Verdict> {
    let (port_be, proto) = (answer.dport_be, answer.proto);
    let service = service::lookup(tables, &answer.dst, port_be, proto, scope::EXTERNAL)?;
    if !is_chosen_alike(&service) {
        return None;
    }
    let hash = hash::of_tuple(answer, SLOT_SEED);
    let client = Client::Address(&answer.src);
    let ticks_per_s = context.config.ticks_per_s;
    let Choice::Backend { backend, .. } =
        service::choose(tables, &service, hash, client, ticks_per_s)
    else {
        return None;
    };
    let place = route::locate_backend(tables, &backend);
    place.is_peer().then(|| Verdict::to_tunnel(place.argument()))
}

/// Whether every node chooses the same backend for a client, whatever it has seen before.
#[inline(always)]
fn is_chosen_alike(service: &Service) -> bool {
    service.flags & (service_flags::DSR | service_flags::AFFINITY) == service_flags::DSR
}

/// Whether the hook asks [`follow_error`] about a packet. XDP does not: it leaves errors, as they are, to
/// the hook behind it.
#[inline(always)]
pub(crate) fn is_error<F: Net>(headers: &Headers<F>) -> bool {
    headers.kind == Kind::IcmpError
}

/// The verdict that asks for [`follow_error`], at the hooks that do.
#[inline(always)]
pub(crate) fn ask(at: Ingress) -> Verdict {
    if at.can_encapsulate() { Verdict::ERROR } else { Verdict::PASS }
}
