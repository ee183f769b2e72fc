//! What a packet does once its flow is known, and how the flow of a new connection comes to be.

use skep_abi::{
    Flow, FlowKey, NO_BACKEND, Reason, Service, backend_state, endpoint_translated, flow_flags,
    peer_mode, service_flags,
};
use skep_packet::{Headers, Packet, Rewrite, rewrite};

use crate::{
    FlowTable, Ingress, Net, Tables, Verdict,
    flow::{self, Opening},
    hash,
    route::{self, Place},
    service::{self, Choice, Client},
    tunnel,
    verdict::Context,
};

/// Seed of the hash that chooses a slot: the same on every node, so that a client whose packets come to
/// another node than before goes to the same backend.
const SLOT_SEED: u32 = 0;

/// Sends a packet of a known connection on; nothing when it is of none, or opens one anew.
#[inline(always)]
pub(crate) fn follow_known<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    headers: &Headers<F>,
    table: FlowTable,
    context: &Context<'_>,
) -> Option<Verdict> {
    let key = flow::key_of(headers);
    let seen = flow::seen(headers, packet.len(), tables.now_ticks());
    let flow = flow::find(tables, table, headers, &key, &seen)?;
    follow(packet, tables, headers, &key, &flow, context)
}

/// Whether the packet has to be left, unchanged, to the hook behind this one.
#[inline(always)]
fn is_for_next_hook<F: Net, T: Tables<F>>(tables: &T, place: &Place, at: Ingress) -> bool {
    if at.can_encapsulate() {
        return false;
    }
    match place {
        Place::Peer(peer) => tables.peer(*peer).is_none_or(|peer| peer.mode != peer_mode::DIRECT),
        Place::Stack | Place::Pod(_) | Place::Device(_) | Place::World => false,
    }
}

/// Gives a packet of a known flow its translated tuple and sends it on. Nothing when the connection
/// begins anew and has to be opened.
#[inline(always)]
fn follow<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    headers: &Headers<F>,
    key: &FlowKey<F>,
    flow: &Flow<F>,
    context: &Context<'_>,
) -> Option<Verdict> {
    if flow::is_reopened(headers, flow) {
        flow::forget(tables, key, flow);
        return None;
    }
    // The stack answers packets whose time is over.
    if headers.ttl <= 1 {
        return Some(Verdict::PASS);
    }
    let place = if flow.backend != NO_BACKEND {
        match tables.backend(flow.backend) {
            Some(backend)
                if matches!(backend.state, backend_state::READY | backend_state::TERMINATING) =>
            {
                route::locate_backend(tables, &backend)
            }
            _ => {
                flow::forget(tables, key, flow);
                return Some(context.without_answer(Verdict::reject(Reason::BackendGone)));
            }
        }
    } else if flow.ifindex != 0 {
        Place::World
    } else {
        route::locate(tables, &flow.dst)
    };
    if flow.flags & flow_flags::TUNNEL != 0 {
        return match place {
            Place::Peer(peer) if !context.at.from_peer => {
                Some(tunnel::wrap(packet, tables, peer, context.config))
            }
            // The backend is here, or another node believes so.
            _ => {
                flow::forget(tables, key, flow);
                None
            }
        };
    }
    if is_for_next_hook(tables, &place, context.at) {
        return Some(Verdict::PASS);
    }
    let out = if flow.ifindex != 0 { flow.ifindex } else { context.config.uplink_ifindex };
    let to = Rewrite {
        src: &flow.src,
        dst: &flow.dst,
        sport_be: flow.sport_be,
        dport_be: flow.dport_be,
    };
    Some(translate_and_send(packet, headers, &to, in_reach(place, context.at), out))
}

/// Where the hook itself can send a packet. XDP does not reach into a pod; the hook behind it does.
#[inline(always)]
fn in_reach(place: Place, at: Ingress) -> Place {
    match place {
        Place::Pod(_) if !at.can_encapsulate() => Place::Stack,
        place => place,
    }
}

#[inline(always)]
fn translate_and_send<F: Net>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
    place: Place,
    out: u32,
) -> Verdict {
    match rewrite(packet, headers, to) {
        Some(()) => route::send(packet, headers, place, out),
        None => Verdict::drop(Reason::Malformed),
    }
}

/// [`translate_and_send`] as a function of its own in the kernel, for callers that have little stack left.
#[inline(never)]
fn translate_and_send_apart<F: Net>(
    packet: &mut impl Packet,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
    place: &Place,
    out: u32,
) -> Verdict {
    translate_and_send(packet, headers, to, *place, out)
}

/// Opens a connection to a Service and sends its first packet on.
#[inline(never)]
pub(crate) fn open_service<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    headers: &Headers<F>,
    service: &Service,
    context: &Context<'_>,
) -> Verdict {
    let Context { at, config, .. } = *context;
    if !service::admits(tables, service, &headers.src) {
        return Verdict::drop(Reason::SourceNotAllowed);
    }
    let client = Client::Address(&headers.src);
    let hash = hash::of_tuple(headers, SLOT_SEED);
    let (id, backend) = match service::choose(tables, service, hash, client, config.ticks_per_s) {
        Choice::Backend { id, backend } => (id, backend),
        Choice::None(verdict) => return context.without_answer(verdict),
    };
    if headers.ttl <= 1 {
        return Verdict::PASS;
    }
    let place = route::locate_backend(tables, &backend);
    let mut opening = Opening { backend: id, service: service.id, return_ifindex: 0 };
    if let Place::Peer(peer) = place {
        if at.from_peer {
            return Verdict::drop(Reason::NoLocalBackend);
        }
        if at.is_device() && service.flags & service_flags::DSR != 0 {
            if !flow::open_tunnel(tables, headers, &opening) {
                return Verdict::drop(Reason::FlowsFull);
            }
            tables.report_opened(headers, service.id, id, at);
            return tunnel::wrap_apart(packet, tables, peer, config);
        }
    }
    if is_for_next_hook(tables, &place, at) {
        return Verdict::PASS;
    }
    let mut to = Rewrite {
        src: &headers.src,
        dst: &backend.addr,
        sport_be: headers.sport_be,
        dport_be: backend.port_be,
    };
    if at.from_peer {
        opening.return_ifindex = tunnel::return_ifindex(headers, config);
    } else if at.is_device() {
        opening.return_ifindex = at.ifindex;
    }
    // The reply must come back here: from a pod on this node it does, and so it does to a pod on this
    // node, unless the two are the same. From elsewhere it comes only to the node's own address.
    let from_pod = !at.is_device() && is_local_pod(tables, &headers.src);
    let keeps_source = match place {
        Place::Pod(_) | Place::Stack => backend.addr != headers.src,
        Place::Peer(_) | Place::Device(_) | Place::World => {
            let keep = service_flags::LOCAL | service_flags::KEEP_SOURCE;
            (from_pod || service.flags & keep != 0) && backend.addr != headers.src
        }
    };
    let keeps_source = keeps_source && service.flags & service_flags::MASQUERADE == 0;
    let opened = if keeps_source {
        flow::open(tables, headers, &to, &opening)
    } else {
        to.src = &F::config(config).node;
        if *to.src == F::Addr::default() {
            return Verdict::drop(Reason::NoNodeAddress);
        }
        flow::open_snat(tables, headers, &mut to, &opening, context)
    };
    if let Err(reason) = opened {
        return Verdict::drop(reason);
    }
    tables.report_opened(headers, service.id, id, at);
    if from_pod {
        let both = endpoint_translated::FROM | endpoint_translated::TO;
        tables.mark_translated(&headers.src, both);
    }
    if matches!(place, Place::Pod(_)) {
        tables.mark_translated(to.dst, endpoint_translated::FROM);
    }
    let place = in_reach(place, at);
    translate_and_send_apart(packet, headers, &to, &place, config.uplink_ifindex)
}

#[inline(always)]
fn is_local_pod<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr) -> bool {
    tables.endpoint(addr).is_some_and(|endpoint| endpoint.ifindex != 0)
}

/// Opens a connection from a pod to the world under the node's address and sends its first packet.
#[inline(never)]
pub(crate) fn open_masquerade<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    headers: &Headers<F>,
    context: &Context<'_>,
) -> Verdict {
    let config = context.config;
    let net = F::config(config);
    let mut to = Rewrite {
        src: &net.node,
        dst: &headers.dst,
        sport_be: headers.sport_be,
        dport_be: headers.dport_be,
    };
    if *to.src == F::Addr::default() {
        return Verdict::drop(Reason::NoNodeAddress);
    }
    let opening = Opening { backend: NO_BACKEND, service: 0, return_ifindex: 0 };
    let pod = headers.src;
    if let Err(reason) = flow::open_snat(tables, headers, &mut to, &opening, context) {
        return Verdict::drop(reason);
    }
    tables.mark_translated(&pod, endpoint_translated::FROM);
    translate_and_send_apart(packet, headers, &to, &Place::World, config.uplink_ifindex)
}
