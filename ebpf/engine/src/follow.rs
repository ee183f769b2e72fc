//! What a packet does once its flow is known, and how the flow of a new connection comes to be.

use skep_abi::{
    Config, NO_BACKEND, Reason, Service, backend_state, endpoint_translated, flow_flags, peer_mode,
    service_flags,
};
use skep_packet::{Headers, Tuple};

use crate::{
    FlowTable, Ingress, Net, Tables, Verdict,
    flow::{self, Found, Opening},
    hash,
    route::{self, Place},
    service::{self, Choice, Client},
    step::Change,
    tunnel,
    verdict::Context,
};

/// Seed of the hash that chooses a slot: the same on every node, so that a client whose packets come to
/// another node than before goes to the same backend.
pub(crate) const SLOT_SEED: u32 = 0;

/// Sends a packet of a known connection on; nothing when it is of none, or opens one anew.
#[inline(always)]
pub(crate) fn follow_known<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    bytes: u32,
    table: FlowTable,
    context: &Context<'_>,
    change: &mut Change<F>,
) -> Option<Verdict> {
    let seen = flow::seen(headers, bytes, tables.now_ticks());
    let found = flow::find(tables, table, headers, &seen, &mut change.to)?;
    follow(tables, headers, &found, context, change)
}

/// Whether the packet has to be left, unchanged, to the hook behind this one.
#[inline(always)]
fn is_for_next_hook<F: Net, T: Tables<F>>(tables: &T, place: Place, at: Ingress) -> bool {
    if at.can_encapsulate() || !place.is_peer() {
        return false;
    }
    tables.peer(place.argument()).is_none_or(|peer| peer.mode != peer_mode::DIRECT)
}

/// Sends an ICMP error on to where the answers to the packet that it quotes go; nothing when that is of no
/// known connection.
#[inline(always)]
pub(crate) fn follow_quoted<F: Net, T: Tables<F>>(
    tables: &T,
    answer: &Headers<F>,
    bytes: u32,
    table: FlowTable,
    context: &Context<'_>,
    change: &mut Change<F>,
) -> Option<Verdict> {
    let seen = flow::seen(answer, bytes, tables.now_ticks());
    let found = flow::find_quoted(tables, table, answer, &seen, &mut change.to)?;
    let Some(place) = place_of(tables, &found, &change.to) else {
        return Some(Verdict::drop(Reason::BackendGone));
    };
    if answer.ttl <= 1 && !place.is_stack() {
        return Some(Verdict::drop(Reason::TtlExceeded));
    }
    if found.flags & flow_flags::TUNNEL != 0 {
        let is_elsewhere = place.is_peer() && !context.at.from_peer;
        return is_elsewhere.then(|| Verdict::to_tunnel(place.argument()));
    }
    change.translate();
    Some(place.verdict(out_of(&found, context)))
}

/// Where the packets of a flow go that gives them the tuple `to`; nothing when its backend is gone.
#[inline(always)]
fn place_of<F: Net, T: Tables<F>>(tables: &T, found: &Found, to: &Tuple<F>) -> Option<Place> {
    if found.backend != NO_BACKEND {
        let backend = tables.backend(found.backend)?;
        let is_there = matches!(backend.state, backend_state::READY | backend_state::TERMINATING);
        is_there.then(|| route::locate_backend(tables, &backend))
    } else if found.ifindex != 0 {
        Some(Place::WORLD)
    } else {
        Some(route::locate(tables, &to.dst))
    }
}

/// The device by which packets of a flow leave for the world.
#[inline(always)]
fn out_of(found: &Found, context: &Context<'_>) -> u32 {
    if found.ifindex != 0 { found.ifindex } else { context.config.uplink_ifindex }
}

/// Sends a packet of a known flow, whose tuple is in `change`, on. Nothing when the connection begins anew
/// and has to be opened, or has lost its backend and may have another.
#[inline(always)]
fn follow<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    found: &Found,
    context: &Context<'_>,
    change: &mut Change<F>,
) -> Option<Verdict> {
    if flow::is_reopened(headers, found)
        || flow::answers_anothers(tables, headers, &change.to, found)
    {
        flow::forget(tables, headers, &change.to, found.flags);
        return None;
    }
    if found.refused != Reason::Forwarded as u32 {
        return Some(Verdict::drop_by_number(found.refused));
    }
    let Some(place) = place_of(tables, found, &change.to) else {
        flow::forget(tables, headers, &change.to, found.flags);
        // What may open a connection, as every datagram may, finds another backend at once.
        if headers.opens() {
            return None;
        }
        return Some(context.without_answer(Verdict::reject(Reason::BackendGone)));
    };
    if headers.ttl <= 1 && !place.is_stack() {
        return Some(context.without_answer(expired(tables, headers)));
    }
    if found.flags & flow_flags::TUNNEL != 0 {
        if place.is_peer() && !context.at.from_peer {
            return Some(Verdict::to_tunnel(place.argument()));
        }
        // The backend is here, or another node believes so.
        flow::forget(tables, headers, &change.to, found.flags);
        return None;
    }
    if is_for_next_hook(tables, place, context.at) {
        return Some(Verdict::PASS);
    }
    change.translate();
    Some(in_reach(place, context.at).verdict(out_of(found, context)))
}

/// What becomes of a packet whose time ends here. The stack answers it, as any router's would; but one to
/// the node's own address it would take for its own.
#[inline(always)]
fn expired<F: Net, T: Tables<F>>(tables: &T, headers: &Headers<F>) -> Verdict {
    if route::is_own(tables, &headers.dst) {
        Verdict::reject(Reason::TtlExceeded)
    } else {
        Verdict::PASS
    }
}

/// Where the hook itself can send a packet. XDP does not reach into a pod; the hook behind it does.
#[inline(always)]
fn in_reach(place: Place, at: Ingress) -> Place {
    if place.is_pod() && !at.can_encapsulate() { Place::STACK } else { place }
}

/// Opens a connection to a Service and sends its first packet on.
#[inline(always)]
pub(crate) fn open_service<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    service: &Service,
    context: &Context<'_>,
    change: &mut Change<F>,
) -> Verdict {
    let Context { at, config } = *context;
    if !service::admits(tables, service, &headers.src) {
        return Verdict::drop(Reason::SourceNotAllowed);
    }
    let client = Client::Address(&headers.src);
    let hash = hash::of_tuple(headers, SLOT_SEED);
    let (id, backend) = match service::choose(tables, service, hash, client, config.ticks_per_s) {
        Choice::Backend { id, backend } => (id, backend),
        Choice::None(verdict) => return context.without_answer(verdict),
    };
    let place = route::locate_backend(tables, &backend);
    if headers.ttl <= 1 && !place.is_stack() {
        return context.without_answer(expired(tables, headers));
    }
    let opening = Opening { backend: id, service: service.id, ..Opening::default() };
    let to = &mut change.to;
    (to.src, to.dst) = (headers.src, headers.dst);
    (to.sport_be, to.dport_be) = (headers.sport_be, headers.dport_be);
    if place.is_peer() {
        if at.from_peer {
            return Verdict::drop(Reason::NoLocalBackend);
        }
        if at.is_device() && service.flags & service_flags::DSR != 0 {
            let opening = Opening { flags: flow_flags::TUNNEL, ..opening };
            if let Err(reason) = open(tables, headers, to, &opening) {
                return Verdict::drop(reason);
            }
            tables.report_opened(headers, service.id, id, at);
            return Verdict::to_tunnel(place.argument());
        }
    }
    if is_for_next_hook(tables, place, at) {
        return Verdict::PASS;
    }
    (to.dst, to.dport_be) = (backend.addr, backend.port_be);
    let return_ifindex = if at.from_peer {
        tunnel::return_ifindex(headers, config)
    } else if at.is_device() {
        at.ifindex
    } else {
        0
    };
    let from_pod = !at.is_device() && is_local_pod(tables, &headers.src);
    let mut flags = flow_flags::DST;
    if !keeps_source(headers, service, place, from_pod, &to.dst) {
        flags |= flow_flags::SRC | flow_flags::SNAT;
        to.src = F::config(config).node;
        if to.src == F::Addr::default() {
            return Verdict::drop(Reason::NoNodeAddress);
        }
    }
    let opening = Opening { return_ifindex, flags, ..opening };
    if let Err(reason) = open(tables, headers, to, &opening) {
        return Verdict::drop(reason);
    }
    tables.report_opened(headers, service.id, id, at);
    if from_pod {
        let both = endpoint_translated::FROM | endpoint_translated::TO;
        tables.mark_translated(&headers.src, both);
    }
    if place.is_pod() {
        tables.mark_translated(&to.dst, endpoint_translated::FROM);
    }
    change.translate();
    in_reach(place, at).verdict(config.uplink_ifindex)
}

/// Opens flows.
#[inline(always)]
fn open<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &mut Tuple<F>,
    opening: &Opening,
) -> Result<(), Reason> {
    match tables.open_flows(headers, to, opening) {
        OPENED => Ok(()),
        NO_PORT => Err(Reason::SnatPortsExhausted),
        _ => Err(Reason::FlowsFull),
    }
}

const OPENED: u32 = Reason::Forwarded as u32;
const NO_PORT: u32 = Reason::SnatPortsExhausted as u32;

/// Whether the backend may see the client's address. The reply must come back here: from a pod on this
/// node it does, and so it does to a pod on this node, unless the two are the same. From elsewhere it
/// comes only to the node's own address.
#[inline(always)]
fn keeps_source<F: Net>(
    headers: &Headers<F>,
    service: &Service,
    place: Place,
    from_pod: bool,
    backend: &F::Addr,
) -> bool {
    let keep = service_flags::LOCAL | service_flags::KEEP_SOURCE;
    let comes_back = place.is_pod() || place.is_stack() || from_pod || service.flags & keep != 0;
    comes_back && *backend != headers.src && service.flags & service_flags::MASQUERADE == 0
}

#[inline(always)]
fn is_local_pod<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> bool {
    tables.endpoint(addr).is_some_and(|endpoint| endpoint.ifindex != 0)
}

/// Opens a connection from a pod to the world under the node's address and sends its first packet.
#[inline(always)]
pub(crate) fn open_masquerade<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    config: &Config,
    change: &mut Change<F>,
) -> Verdict {
    let to = &mut change.to;
    (to.src, to.dst) = (F::config(config).node, headers.dst);
    (to.sport_be, to.dport_be) = (headers.sport_be, headers.dport_be);
    if to.src == F::Addr::default() {
        return Verdict::drop(Reason::NoNodeAddress);
    }
    let flags = flow_flags::SRC | flow_flags::DST | flow_flags::SNAT;
    let opening = Opening { backend: NO_BACKEND, flags, ..Opening::default() };
    if let Err(reason) = open(tables, headers, to, &opening) {
        return Verdict::drop(reason);
    }
    tables.mark_translated(&headers.src, endpoint_translated::FROM);
    change.translate();
    Place::WORLD.verdict(config.uplink_ifindex)
}
