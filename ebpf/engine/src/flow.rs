//! Connection tracking: finding a packet's flow, opening a pair of flows, and the step from embryo to
//! established.
//!
//! A connection is two entries, one per direction. It starts in `embryos`, where only other embryos can
//! push it out, and moves to `flows` (its reply to `snat` when the source is translated) with the first
//! packet of the opener after an answer. A connection that nobody answers never gets there.

use skep_abi::{Config, Flow, FlowKey, PortRange, Reason, flow_flags, flow_state};
use skep_packet::{Headers, Kind, Tuple, tcp_flags};

use crate::{FlowTable, Net, Seen, Tables, hash};

/// How many ports are tried for a translated source before its packet is dropped.
const PORT_TRIES: u32 = 32;

/// Of how many connections that nobody has answered the oldest gives way. Few: the kernel's verifier walks
/// each look on its own.
const VICTIMS: u32 = 4;

/// Ports that programs use without privileges.
const UNPRIVILEGED: PortRange = PortRange { min: 1024, max: u16::MAX };

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

/// What is worth knowing of a flow beside the tuple that it gives its packets.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// [`Flow::backend`].
    pub(crate) backend: u32,
    /// [`Flow::ifindex`].
    pub(crate) ifindex: u32,
    /// [`Flow::flags`].
    pub(crate) flags: u32,
    /// [`Flow::state`].
    pub(crate) state: u32,
    /// The number of the reason why the connection cannot be established, or that of
    /// [`Reason::Forwarded`].
    pub(crate) refused: u32,
}

/// The flow of a packet among established connections and embryos, its tuple put into `to`;
/// `established` is where it is looked for first (`Snat` for packets to a translated source).
///
/// Its values are copied out of the table: to the verifier an entry of one table is another thing than
/// an entry of the next, and all that follows would be walked once for each.
#[inline(always)]
pub(crate) fn find<F: Net, T: Tables<F>>(
    tables: &T,
    established: FlowTable,
    headers: &Headers<F>,
    seen: &Seen,
    to: &mut Tuple<F>,
) -> Option<Found> {
    let key = key_of(headers);
    let mut flow = find_established(tables, established, &key, seen);
    let mut refused = Reason::Forwarded as u32;
    if flow.is_none() {
        flow = tables.flow(FlowTable::Embryos, &key, seen);
        if let Some(embryo) = &flow {
            refused = grow(tables, headers, &key, embryo);
        }
    }
    Some(Found { refused, ..take(&*flow?, to) })
}

/// [`find`] for the answer to a packet that an ICMP error quotes: such an error neither answers an embryo
/// nor goes on with it.
#[inline(always)]
pub(crate) fn find_quoted<F: Net, T: Tables<F>>(
    tables: &T,
    established: FlowTable,
    answer: &Headers<F>,
    seen: &Seen,
    to: &mut Tuple<F>,
) -> Option<Found> {
    let key = key_of(answer);
    let mut flow = find_established(tables, established, &key, seen);
    if flow.is_none() {
        flow = tables.flow(FlowTable::Embryos, &key, seen);
    }
    Some(take(&*flow?, to))
}

#[inline(always)]
fn find_established<F: Net, T: Tables<F>>(
    tables: &T,
    established: FlowTable,
    key: &FlowKey<F>,
    seen: &Seen,
) -> Option<T::Ref<Flow<F>>> {
    let flow = tables.flow(established, key, seen);
    // A Service may have a port that translated sources use as well.
    if flow.is_none() && established == FlowTable::Snat {
        return tables.flow(FlowTable::Flows, key, seen);
    }
    flow
}

/// Takes out of a flow what is worth knowing.
#[inline(always)]
fn take<F: Net>(flow: &Flow<F>, to: &mut Tuple<F>) -> Found {
    *to = Tuple { src: flow.src, dst: flow.dst, sport_be: flow.sport_be, dport_be: flow.dport_be };
    let Flow { backend, ifindex, flags, state, .. } = *flow;
    Found { backend, ifindex, flags, state, refused: Reason::Forwarded as u32 }
}

/// Brings an embryo a step further. Returns the number of the reason why the table it would go to has no
/// room, or that of [`Reason::Forwarded`]: without a place that nothing pushes it out of, a connection is
/// not to get on.
#[inline(never)]
fn grow<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    key: &FlowKey<F>,
    flow: &Flow<F>,
) -> u32 {
    const AS_IT_IS: u32 = Reason::Forwarded as u32;
    let partner_key = partner_of(key, flow);
    if flow.flags & flow_flags::REPLY != 0 {
        tables.set_flow_state(FlowTable::Embryos, &partner_key, flow_state::ANSWERED);
        return AS_IT_IS;
    }
    let opening =
        matches!(headers.kind, Kind::Tcp | Kind::Sctp) && headers.tcp_flags & tcp_flags::ACK == 0;
    if flow.flags & flow_flags::TUNNEL != 0 {
        // Answers do not come here: a client that goes on has got one.
        if opening {
            return AS_IT_IS;
        }
        if !tables.put_flow(FlowTable::Flows, key, flow) {
            return Reason::FlowsFull as u32;
        }
        tables.remove_flow(FlowTable::Embryos, key);
        return AS_IT_IS;
    }
    if flow.state & flow_state::ANSWERED == 0 || opening {
        return AS_IT_IS;
    }
    let (reply_table, full) = if flow.flags & flow_flags::SNAT != 0 {
        (FlowTable::Snat, Reason::SnatFull)
    } else {
        (FlowTable::Flows, Reason::FlowsFull)
    };
    let Some(partner) = tables.peek_flow(FlowTable::Embryos, &partner_key) else {
        return AS_IT_IS;
    };
    if !tables.put_flow(reply_table, &partner_key, &partner) {
        return full as u32;
    }
    if !tables.put_flow(FlowTable::Flows, key, flow) {
        tables.remove_flow(reply_table, &partner_key);
        return Reason::FlowsFull as u32;
    }
    tables.remove_flow(FlowTable::Embryos, &partner_key);
    tables.remove_flow(FlowTable::Embryos, key);
    AS_IT_IS
}

/// What a new pair of flows is about.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The backend, or [`skep_abi::NO_BACKEND`].
    pub(crate) backend: u32,
    /// The Service, or 0.
    pub(crate) service: u32,
    /// The device that replies leave by, or 0.
    pub(crate) return_ifindex: u32,
    /// [`flow_flags`] of the opener's direction: with `TUNNEL` there is no other, with `SNAT` the source
    /// port is chosen; without it only where the reply's tuple is another connection's.
    pub(crate) flags: u32,
}

/// Opens the flows that give packets like this one the tuple `to`, and puts a chosen source port there.
/// Returns the number of the reason why not, or that of [`Reason::Forwarded`].
#[inline(always)]
pub fn open_flows<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &mut Tuple<F>,
    opening: &Opening,
) -> u32 {
    if opening.flags & flow_flags::TUNNEL == 0 {
        let is_free =
            opening.flags & flow_flags::SNAT == 0 && put_reply(tables, headers, to, opening);
        if !is_free {
            let mut port_be = claim(tables, headers, to, opening);
            if port_be == 0 {
                port_be = free_closed(tables, headers, to, opening);
                if port_be != 0 && !put_at(tables, headers, to, opening, port_be as u16) {
                    port_be = 0;
                }
            }
            if port_be == 0 {
                port_be = displace(tables, headers, to, opening);
            }
            if port_be == 0 {
                return Reason::SnatPortsExhausted as u32;
            }
            to.sport_be = port_be as u16;
        }
    }
    let reason =
        if put_first(tables, headers, to, opening) { Reason::Forwarded } else { Reason::FlowsFull };
    reason as u32
}

// The six below are functions of their own in the kernel, so that their keys and values, 120 bytes
// each for IPv6, do not lie on the 512 bytes of stack at the same time.

/// Writes the entry of the opener's direction.
#[inline(never)]
fn put_first<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    opening: &Opening,
) -> bool {
    let flow = Flow {
        seen_ticks: tables.now_ticks(),
        packets: 1,
        bytes: 0,
        src: to.src,
        dst: to.dst,
        sport_be: to.sport_be,
        dport_be: to.dport_be,
        backend: opening.backend,
        service: opening.service,
        ifindex: 0,
        flags: opening.flags,
        state: 0,
    };
    tables.put_flow(FlowTable::Embryos, &key_of(headers), &flow)
}

/// Writes the entry of the reply direction, unless that is another connection's: a client may use one
/// port towards several front ends that lead to one backend.
#[inline(never)]
fn put_reply<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    opening: &Opening,
) -> bool {
    let (key, reply) = (reply_key(headers, to), reply(tables, headers, opening));
    if is_anothers(tables, FlowTable::Flows, &key, headers)
        || is_anothers(tables, FlowTable::Embryos, &key, headers)
    {
        return false;
    }
    tables.remove_flow(FlowTable::Flows, &key);
    tables.put_flow(FlowTable::Embryos, &key, &reply)
}

/// Whether there is an entry that gives replies the address of another front end than the packet's, and
/// whose connection is not closed.
#[inline(always)]
fn is_anothers<F: Net, T: Tables<F>>(
    tables: &T,
    table: FlowTable,
    key: &FlowKey<F>,
    headers: &Headers<F>,
) -> bool {
    tables.peek_flow(table, key).is_some_and(|flow| {
        !is_closed(flow.state) && (flow.src != headers.dst || flow.sport_be != headers.dport_be)
    })
}

/// Writes the entry of the reply direction under the first free one of a few ports: those for
/// translated sources, or, where the source keeps its address, any above the well-known ones. Returns the
/// port as it lies on the wire; 0: none.
#[inline(never)]
fn claim<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    opening: &Opening,
) -> u32 {
    let Some(config) = tables.config() else { return 0 };
    let Some(mut ports) = Ports::of(headers, opening, &config) else { return 0 };
    let established = if ports.is_snat { FlowTable::Snat } else { FlowTable::Flows };
    let (mut key, reply) = (reply_key(headers, to), reply(tables, headers, opening));
    for _ in 0..PORT_TRIES {
        key.dport_be = ports.next_be();
        if !tables.has_flow(established, &key) && tables.add_flow(FlowTable::Embryos, &key, &reply)
        {
            return u32::from(key.dport_be);
        }
    }
    0
}

/// Writes it in the place of a connection that has long waited for its first answer, the oldest of a few
/// that are looked at: so a flood of packets that nobody answers takes no port for good. Returns the port
/// as it lies on the wire; 0: there is none.
#[inline(never)]
fn displace<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    opening: &Opening,
) -> u32 {
    let Some(config) = tables.config() else { return 0 };
    let Some(mut ports) = Ports::of(headers, opening, &config) else { return 0 };
    let (mut key, reply) = (reply_key(headers, to), reply(tables, headers, opening));
    let (mut oldest_ticks, mut oldest_be) = (u64::MAX, 0);
    for _ in 0..VICTIMS {
        key.dport_be = ports.next_be();
        if let Some(other) = tables.peek_flow(FlowTable::Embryos, &key)
            && other.packets == 0
            && other.seen_ticks < oldest_ticks
        {
            (oldest_ticks, oldest_be) = (other.seen_ticks, key.dport_be);
        }
    }
    key.dport_be = oldest_be;
    if oldest_be != 0 && take_over(tables, &key, &reply) { u32::from(oldest_be) } else { 0 }
}

/// Ends a closed connection that still holds one of the ports that [`claim`] tries for a translated source:
/// it is kept for its last packets only. Returns the port as it lies on the wire; 0: there is none.
#[inline(never)]
fn free_closed<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    opening: &Opening,
) -> u32 {
    let Some(config) = tables.config() else { return 0 };
    let Some(mut ports) = Ports::of(headers, opening, &config) else { return 0 };
    if !ports.is_snat {
        return 0;
    }
    let mut key = reply_key(headers, to);
    for _ in 0..PORT_TRIES {
        key.dport_be = ports.next_be();
        if tables.ends_closed(&key) {
            return u32::from(key.dport_be);
        }
    }
    0
}

/// Writes the entry of the reply direction under this port, unless somebody else was faster.
#[inline(never)]
fn put_at<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    opening: &Opening,
    port_be: u16,
) -> bool {
    let key = FlowKey { dport_be: port_be, ..reply_key(headers, to) };
    tables.add_flow(FlowTable::Embryos, &key, &reply(tables, headers, opening))
}

/// Ends the connection whose reply has this key in `snat`, if both sides have closed it or one has reset it;
/// whether there was one.
#[inline(always)]
pub fn end_closed<F: Net, T: Tables<F>>(tables: &T, key: &FlowKey<F>) -> bool {
    let Some(reply) = tables.peek_flow(FlowTable::Snat, key) else { return false };
    let (state, first) = (reply.state, partner_of(key, &reply));
    // Its other half may be gone already.
    let other =
        tables.peek_flow(FlowTable::Flows, &first).map_or(flow_state::FIN, |flow| flow.state);
    if flow_state::closed(state, other) == 0 {
        return false;
    }
    tables.remove_flow(FlowTable::Flows, &first);
    tables.remove_flow(FlowTable::Snat, key);
    true
}

/// The ports that a translated source may have, in an order of each connection's own.
struct Ports {
    is_snat: bool,
    min: u16,
    count: u32,
    probe: u32,
}

impl Ports {
    #[inline(always)]
    fn of<F: Net>(headers: &Headers<F>, opening: &Opening, config: &Config) -> Option<Self> {
        let is_snat = opening.flags & flow_flags::SNAT != 0;
        let (ports, seed) =
            if is_snat { (config.snat_ports, !config.hash_seed) } else { (UNPRIVILEGED, 0) };
        if ports.max < ports.min {
            return None;
        }
        let count = u32::from(ports.max - ports.min) + 1;
        Some(Self { is_snat, min: ports.min, count, probe: hash::of_tuple(headers, seed) })
    }

    /// The next, as it lies on the wire. Anywhere: neighbours fill up together, and steps of one length may
    /// meet few ports of many.
    #[inline(always)]
    fn next_be(&mut self) -> u16 {
        let port = self.min.wrapping_add(hash::below(self.probe, self.count) as u16);
        self.probe = hash::mix(self.probe);
        port.to_be()
    }
}

/// Ends a connection that nobody has answered and puts another's reply in its place. Of several that try
/// at the same time one succeeds.
#[inline(always)]
fn take_over<F: Net, T: Tables<F>>(tables: &T, key: &FlowKey<F>, reply: &Flow<F>) -> bool {
    let Some(other) = tables.peek_flow(FlowTable::Embryos, key) else { return false };
    tables.remove_flow(FlowTable::Embryos, &partner_of(key, &other));
    tables.replace_flow(FlowTable::Embryos, key, reply)
}

#[inline(always)]
fn reply_key<F: Net>(headers: &Headers<F>, to: &Tuple<F>) -> FlowKey<F> {
    FlowKey {
        src: to.dst,
        dst: to.src,
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

/// Forgets a connection: both directions, wherever they are. `to` and `flags` are its flow's.
#[inline(never)]
pub(crate) fn forget<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    flags: u32,
) {
    let (key, partner) = (key_of(headers), reply_key(headers, to));
    let reply_table =
        if flags & flow_flags::SNAT != 0 { FlowTable::Snat } else { FlowTable::Flows };
    tables.remove_flow(reply_table, &partner);
    tables.remove_flow(FlowTable::Embryos, &partner);
    tables.remove_flow(FlowTable::Flows, &key);
    tables.remove_flow(FlowTable::Embryos, &key);
}

/// Whether a packet begins a connection anew although there is a flow: a SYN (or INIT) after the old connection
/// was closed in either direction.
#[inline(always)]
pub(crate) fn is_reopened<F: Net>(headers: &Headers<F>, flow: &Found) -> bool {
    headers.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
        && flow.flags & flow_flags::REPLY == 0
        && is_closed(flow.state)
}

/// Whether a packet is the first answer of another connection than the flow's: the client's kernel took the
/// port again, for the backend itself, once the connection through the Service was closed. Only then are the
/// two to be told apart.
#[inline(always)]
pub(crate) fn answers_anothers<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
    flow: &Found,
) -> bool {
    let both = tcp_flags::SYN | tcp_flags::ACK;
    let is_first = headers.kind == Kind::Tcp && headers.tcp_flags & both == both;
    // Under a translated source there is no other connection.
    let is_clients = to.dst == headers.dst && to.dport_be == headers.dport_be;
    is_first
        && flow.flags & flow_flags::REPLY != 0
        && is_clients
        && (is_closed(flow.state) || is_partner_closed(tables, headers, to))
}

/// Whether one direction of a connection has been closed.
#[inline(always)]
fn is_closed(state: u32) -> bool {
    state & (flow_state::FIN | flow_state::RST) != 0
}

#[inline(never)]
fn is_partner_closed<F: Net, T: Tables<F>>(
    tables: &T,
    headers: &Headers<F>,
    to: &Tuple<F>,
) -> bool {
    let partner = reply_key(headers, to);
    [FlowTable::Flows, FlowTable::Embryos]
        .iter()
        .any(|table| tables.peek_flow(*table, &partner).is_some_and(|flow| is_closed(flow.state)))
}
