//! Connection tracking: finding a packet's flow, opening a pair of flows, and the step from embryo to
//! established.
//!
//! A connection is two entries, one per direction. It starts in `embryos`, where only other embryos can
//! push it out, and moves to `flows` (its reply to `snat` when the source is translated) with the first
//! packet of the opener after an answer. A connection that nobody answers never gets there.

use skep_abi::{Flow, FlowKey, Reason, flow_flags, flow_state, proto};
use skep_packet::{Headers, Kind, Rewrite, tcp_flags};

use crate::{FlowTable, Net, Seen, Tables, hash, verdict::Context};

/// How many ports are tried for a translated source in one round. The verifier walks each try, so they
/// are few; the rounds are calls of a function that it walks once.
const PORTS_PER_ROUND: u32 = 4;
/// How many rounds there are before a packet is dropped with [`Reason::SnatPortsExhausted`]: the hook
/// asks again as long as it gets that verdict.
pub const SNAT_ROUNDS: u32 = 16;

/// The key that a packet's flow has.
#[inline(always)]
pub(crate) fn key_of<F: Net>(headers: &Headers<F>) -> FlowKey<F> {
    FlowKey {
        src: headers.src,
        dst: headers.dst,
        sport_be: headers.sport_be,
        dport_be: headers.dport_be,
        proto: headers.proto,
        pad: 0,
        pad16: 0,
    }
}

/// The key of the other direction of a flow.
#[inline(always)]
pub(crate) fn partner_of<F: Net>(key: &FlowKey<F>, flow: &Flow<F>) -> FlowKey<F> {
    FlowKey {
        src: flow.dst,
        dst: flow.src,
        sport_be: flow.dport_be,
        dport_be: flow.sport_be,
        proto: key.proto,
        pad: 0,
        pad16: 0,
    }
}

/// What the packet adds to its flow.
#[inline(always)]
pub(crate) fn seen<F: Net>(headers: &Headers<F>, bytes: u32, ticks: u64) -> Seen {
    let mut state = 0;
    if headers.tcp_flags & tcp_flags::FIN != 0 {
        state |= flow_state::FIN;
    }
    if headers.tcp_flags & tcp_flags::RST != 0 {
        state |= flow_state::RST;
    }
    Seen { ticks, bytes, state }
}

/// The flow of a packet among established connections and embryos; `established` is where it is looked
/// for first (`Snat` for packets to a translated source).
#[inline(always)]
pub(crate) fn find<F: Net, T: Tables<F>>(
    tables: &T,
    established: FlowTable,
    headers: &Headers<F>,
    key: &FlowKey<F>,
    seen: &Seen,
) -> Option<T::Ref<Flow<F>>> {
    if let Some(flow) = tables.flow(established, key, seen) {
        return Some(flow);
    }
    // A Service may have a port that translated sources use as well.
    if let FlowTable::Snat = established
        && let Some(flow) = tables.flow(FlowTable::Flows, key, seen)
    {
        return Some(flow);
    }
    let flow = tables.flow(FlowTable::Embryos, key, seen)?;
    grow(tables, headers, key, &flow);
    Some(flow)
}

/// Brings an embryo a step further.
#[inline(never)]
fn grow<F: Net, T: Tables<F>>(tables: &T, headers: &Headers<F>, key: &FlowKey<F>, flow: &Flow<F>) {
    let partner_key = partner_of(key, flow);
    if flow.flags & flow_flags::REPLY != 0 {
        tables.set_flow_state(FlowTable::Embryos, &partner_key, flow_state::ANSWERED);
        return;
    }
    let opening = headers.kind == Kind::Tcp && headers.tcp_flags & tcp_flags::ACK == 0;
    if flow.flags & flow_flags::TUNNEL != 0 {
        // Answers do not come here: a client that goes on has got one.
        if !opening && tables.put_flow(FlowTable::Flows, key, flow) {
            tables.remove_flow(FlowTable::Embryos, key);
        }
        return;
    }
    if flow.state & flow_state::ANSWERED == 0 || opening {
        return;
    }
    let reply_table =
        if flow.flags & flow_flags::SNAT != 0 { FlowTable::Snat } else { FlowTable::Flows };
    let Some(partner) = tables.flow(FlowTable::Embryos, &partner_key, &Seen::default()) else {
        return;
    };
    // Should a table be full, the connection lives on as an embryo.
    if tables.put_flow(reply_table, &partner_key, &partner)
        && tables.put_flow(FlowTable::Flows, key, flow)
    {
        tables.remove_flow(FlowTable::Embryos, &partner_key);
        tables.remove_flow(FlowTable::Embryos, key);
    }
}

/// What a new pair of flows is about.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    /// The backend, or [`skep_abi::NO_BACKEND`].
    pub(crate) backend: u32,
    /// The Service, or 0.
    pub(crate) service: u32,
    /// The device that replies leave by, or 0.
    pub(crate) return_ifindex: u32,
}

/// Opens the pair of flows that gives packets like this one the tuple `to`.
#[inline(always)]
pub(crate) fn open<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
    opening: &Opening,
) -> Result<(), Reason> {
    if put_reply(tables, headers, to, opening)
        && put_first(tables, headers, to, opening, flow_flags::DST)
    {
        return Ok(());
    }
    Err(Reason::FlowsFull)
}

/// Opens the one flow of a connection whose packets go to another node in an outer header.
#[inline(always)]
pub(crate) fn open_tunnel<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    opening: &Opening,
) -> bool {
    let to = Rewrite {
        src: &headers.src,
        dst: &headers.dst,
        sport_be: headers.sport_be,
        dport_be: headers.dport_be,
    };
    put_first(tables, headers, &to, opening, flow_flags::TUNNEL)
}

/// As [`open`], with a source port that makes the reply's tuple unique; it is put into `to`. Tries a few
/// ports, others in each `round`.
#[inline(always)]
pub(crate) fn open_snat<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &mut Rewrite<'_, F>,
    opening: &Opening,
    context: &Context<'_>,
) -> Result<(), Reason> {
    let ports = context.config.snat_ports;
    let count = u32::from(ports.max.wrapping_sub(ports.min)) + 1;
    let seed = !context.config.hash_seed ^ context.round;
    let start = hash::below(hash::of_tuple(headers, seed), count);
    for attempt in 0..PORTS_PER_ROUND {
        if attempt >= count {
            break;
        }
        let mut offset = start + attempt;
        if offset >= count {
            offset -= count;
        }
        to.sport_be = ports.min.wrapping_add(offset as u16).to_be();
        if add_snat_reply(tables, headers, to, opening) {
            let flags = flow_flags::SNAT | flow_flags::SRC | flow_flags::DST;
            let put = put_first(tables, headers, to, opening, flags);
            return if put { Ok(()) } else { Err(Reason::FlowsFull) };
        }
    }
    Err(Reason::SnatPortsExhausted)
}

// The three below are functions of their own in the kernel, so that their keys and values, 120 bytes
// each for IPv6, do not lie on the 512 bytes of stack at the same time.

/// Writes the entry of the opener's direction.
#[inline(never)]
fn put_first<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
    opening: &Opening,
    flags: u32,
) -> bool {
    let flow = Flow {
        seen_ticks: tables.now_ticks(),
        packets: 1,
        bytes: 0,
        src: *to.src,
        dst: *to.dst,
        sport_be: to.sport_be,
        dport_be: to.dport_be,
        backend: opening.backend,
        service: opening.service,
        ifindex: 0,
        flags,
        state: 0,
    };
    tables.put_flow(FlowTable::Embryos, &key_of(headers), &flow)
}

/// Writes the entry of the reply direction.
#[inline(never)]
fn put_reply<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
    opening: &Opening,
) -> bool {
    let reply = reply(tables, headers, opening);
    tables.put_flow(FlowTable::Embryos, &reply_key(headers, to), &reply)
}

/// Writes the entry of the reply direction if its tuple is free.
#[inline(never)]
fn add_snat_reply<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Rewrite<'_, F>,
    opening: &Opening,
) -> bool {
    let key = reply_key(headers, to);
    if tables.has_flow(FlowTable::Snat, &key) {
        return false;
    }
    tables.add_flow(FlowTable::Embryos, &key, &reply(tables, headers, opening))
}

#[inline(always)]
fn reply_key<F: Net>(headers: &Headers<F>, to: &Rewrite<'_, F>) -> FlowKey<F> {
    FlowKey {
        src: *to.dst,
        dst: *to.src,
        sport_be: to.dport_be,
        dport_be: to.sport_be,
        proto: headers.proto,
        pad: 0,
        pad16: 0,
    }
}

#[inline(always)]
fn reply<F: Net, T: Tables<F>>(tables: &T, headers: &Headers<F>, opening: &Opening) -> Flow<F> {
    Flow {
        seen_ticks: tables.now_ticks(),
        packets: 0,
        bytes: 0,
        src: headers.dst,
        dst: headers.src,
        sport_be: headers.dport_be,
        dport_be: headers.sport_be,
        backend: skep_abi::NO_BACKEND,
        service: opening.service,
        ifindex: opening.return_ifindex,
        flags: flow_flags::REPLY | flow_flags::SRC,
        state: 0,
    }
}

/// Forgets a connection: both directions, wherever they are.
#[inline(never)]
pub(crate) fn forget<F: Net, T: Tables<F>>(tables: &T, key: &FlowKey<F>, flow: &Flow<F>) {
    let partner = partner_of(key, flow);
    let reply_table =
        if flow.flags & flow_flags::SNAT != 0 { FlowTable::Snat } else { FlowTable::Flows };
    tables.remove_flow(reply_table, &partner);
    tables.remove_flow(FlowTable::Embryos, &partner);
    tables.remove_flow(FlowTable::Flows, key);
    tables.remove_flow(FlowTable::Embryos, key);
}

/// Whether a packet begins a connection anew although there is a flow: a SYN after the old connection
/// was closed in either direction.
#[inline(always)]
pub(crate) fn is_reopened<F: Net>(headers: &Headers<F>, flow: &Flow<F>) -> bool {
    headers.proto == proto::TCP
        && headers.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
        && flow.flags & flow_flags::REPLY == 0
        && flow.state & (flow_state::FIN | flow_state::RST) != 0
}
