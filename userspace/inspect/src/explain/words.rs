//! Steps, verdicts and ends in words.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use skep_abi::{
    Family, FlowKey, Hook, LOCAL_BOND, Reason, ServiceKey, Trace, TraceStep, TraceTable, V4, V6,
    backend_state, peer_mode, scope, service_flags,
};
use skep_engine::{Action, FlowTable, Net, Seen, Tables as _};

use super::journey::{By, End, Journey, Leg};
use super::live::LiveTables;
use crate::names::Resolver;
use crate::services::protocol;

/// A hook on the way, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stage {
    pub(crate) hook: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// Who answered.
    pub(crate) by: &'static str,
    /// Why it was not the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<&'static str>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) steps: Vec<Step>,
    pub(crate) verdict: String,
}

/// A look-up or a write, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) outcome: &'static str,
    pub(crate) meaning: String,
}

/// Finds the words.
pub(crate) struct Words<'a, F: Net> {
    pub(crate) live: &'a LiveTables<'a, F>,
    pub(crate) names: &'a Resolver,
}

impl<F: Net> Words<'_, F> {
    /// A leg of the journey.
    pub(crate) fn stage(&self, leg: &Leg) -> Stage {
        let (by, because) = match leg.by {
            By::Kernel => ("the program in the kernel", None),
            By::Engine(why) => ("the engine on the host, over the live tables", Some(why)),
        };
        let told = |trace: &&Trace| trace.step != TraceStep::Verdict as u8;
        Stage {
            hook: leg.hook.name(),
            device: (leg.ifindex != 0).then(|| device(leg.ifindex)),
            by,
            because,
            source: leg.before.0,
            destination: leg.before.1,
            steps: leg.steps.iter().filter(told).map(|trace| self.step(trace)).collect(),
            verdict: self.verdict(leg),
        }
    }

    fn step(&self, trace: &Trace) -> Step {
        let table = TraceTable::from_number(trace.table).unwrap_or(TraceTable::None);
        let step = TraceStep::from_number(trace.step).unwrap_or(TraceStep::Missed);
        let family = match table {
            TraceTable::Slots | TraceTable::Peers => String::new(),
            _ => trace.version.to_string(),
        };
        Step {
            table: format!("{}{family}", table.name()),
            key: self.key(table, trace),
            outcome: match step {
                TraceStep::Found => "hit",
                TraceStep::Missed => "miss",
                TraceStep::Written => "would write",
                TraceStep::Taken => "is taken",
                TraceStep::Removed => "would remove",
                TraceStep::Marked => "would mark",
                TraceStep::Verdict => "verdict",
            },
            meaning: match step {
                TraceStep::Found => self.value(table, trace),
                TraceStep::Missed => missing(table),
                _ => String::new(),
            },
        }
    }

    fn key(&self, table: TraceTable, trace: &Trace) -> String {
        let (src, dst) = (address(trace.version, trace.src), address(trace.version, trace.dst));
        let socket = |ip, port_be| SocketAddr::new(ip, u16::from_be(port_be));
        match table {
            TraceTable::Services => {
                let to = socket(dst, trace.dport_be);
                let seen = match trace.scope {
                    scope::INTERNAL => "inside",
                    scope::EXTERNAL => "outside",
                    _ => "local",
                };
                let to = if to.port() == 0 { format!("{dst}:*") } else { to.to_string() };
                format!("{to} {} from {seen}", protocol(trace.proto))
            }
            TraceTable::Flows | TraceTable::Embryos | TraceTable::Snat => {
                let (from, to) = (socket(src, trace.sport_be), socket(dst, trace.dport_be));
                format!("{from} -> {to} {}", protocol(trace.proto))
            }
            TraceTable::Sources if trace.cookie != 0 => {
                format!("{} by namespace {}", self.bond(trace.number), trace.cookie)
            }
            TraceTable::Sources => format!("{} by {src}", self.bond(trace.number)),
            TraceTable::Ranges => format!("{} by {src}", self.names.service(trace.number)),
            TraceTable::Endpoints | TraceTable::Nodes => dst.to_string(),
            TraceTable::Sockets => socket(dst, trace.dport_be).to_string(),
            TraceTable::Slots | TraceTable::Backends | TraceTable::Peers => {
                trace.number.to_string()
            }
            TraceTable::None => String::new(),
        }
    }

    fn value(&self, table: TraceTable, trace: &Trace) -> String {
        let words = |addr: [u32; 4]| F::addr_from_ip(address(trace.version, addr));
        let (Some(src), Some(dst)) = (words(trace.src), words(trace.dst)) else {
            return String::new();
        };
        let said = match table {
            TraceTable::Services => {
                let (port_be, proto, scope) = (trace.dport_be, trace.proto, trace.scope);
                let key = ServiceKey::<F> { addr: dst, port_be, proto, scope };
                self.live.service(&key).map(|service| self.service(&service))
            }
            TraceTable::Slots | TraceTable::Sources => Some(format!("backend {}", trace.result)),
            TraceTable::Backends => self.live.backend(trace.number).map(|backend| {
                let state = match backend.state {
                    backend_state::READY => "ready",
                    backend_state::TERMINATING => "terminating",
                    backend_state::GONE => "gone",
                    _ => "not in use",
                };
                let at = F::addr_to_ip(backend.addr);
                let socket = SocketAddr::new(at, u16::from_be(backend.port_be));
                format!("{}, {state}", self.named(socket))
            }),
            TraceTable::Flows | TraceTable::Embryos | TraceTable::Snat => {
                let key = FlowKey::<F> {
                    src,
                    dst,
                    sport_be: trace.sport_be,
                    dport_be: trace.dport_be,
                    proto: trace.proto,
                    ..FlowKey::default()
                };
                let table = match table {
                    TraceTable::Flows => FlowTable::Flows,
                    TraceTable::Embryos => FlowTable::Embryos,
                    _ => FlowTable::Snat,
                };
                self.live.flow(table, &key, &Seen::default()).map(|flow| {
                    let socket =
                        |addr, port_be| SocketAddr::new(F::addr_to_ip(addr), u16::from_be(port_be));
                    let from = socket(flow.src, flow.sport_be);
                    let to = socket(flow.dst, flow.dport_be);
                    format!("becomes {from} -> {}", self.named(to))
                })
            }
            TraceTable::Endpoints => self.live.endpoint(&dst).map(|endpoint| {
                match (endpoint.ifindex, self.names.pod(F::addr_to_ip(dst))) {
                    (0, _) => "this node".to_owned(),
                    (ifindex, Some(pod)) => format!("pod {pod} behind {}", device(ifindex)),
                    (ifindex, None) => format!("a pod behind {}", device(ifindex)),
                }
            }),
            TraceTable::Nodes => self.live.node(&dst).map(|node| format!("peer {}", node.peer)),
            TraceTable::Peers => Some(self.peer(trace.number)),
            TraceTable::Ranges => Some("an allowed client".to_owned()),
            TraceTable::Sockets | TraceTable::None => None,
        };
        said.unwrap_or_default()
    }

    /// Whose bonds with clients: those to backends that must be here are apart.
    fn bond(&self, service: u32) -> String {
        let name = self.names.service(service & !LOCAL_BOND);
        if service & LOCAL_BOND == 0 { name } else { format!("{name} (backends here)") }
    }

    fn service(&self, service: &skep_abi::Service) -> String {
        let name = self.names.service(service.id);
        if service.flags & service_flags::REJECT != 0 {
            return "an address of a Service, for ports that it does not have".to_owned();
        }
        let affinity = match service.affinity_s {
            seconds if service.flags & service_flags::AFFINITY != 0 => {
                format!(", clients stay with theirs for {seconds} s")
            }
            _ => String::new(),
        };
        format!("{name}, {} in {} slots{affinity}", backends(service), service.slot_count)
    }

    /// The pod and its address and port, or the latter alone.
    pub(crate) fn named(&self, socket: SocketAddr) -> String {
        match self.names.pod(socket.ip()) {
            Some(pod) => format!("{pod} at {socket}"),
            None => socket.to_string(),
        }
    }

    fn peer(&self, index: u32) -> String {
        let Some(peer) = self.live.peer(index) else { return format!("peer {index}") };
        let address =
            if peer.addr4 == [0] { V6::addr_to_ip(peer.addr6) } else { V4::addr_to_ip(peer.addr4) };
        match peer.mode {
            peer_mode::VXLAN => format!("node {address} through VXLAN"),
            peer_mode::DIRECT => format!("node {address} directly by {}", device(peer.ifindex)),
            _ => format!("node {address}, to which no way is known"),
        }
    }

    fn verdict(&self, leg: &Leg) -> String {
        let Leg { verdict, before, after, .. } = leg;
        let translated = match (before.0 != after.0, before.1 != after.1) {
            (false, false) => String::new(),
            (false, true) => format!(", its destination made {}", self.named(after.1)),
            (true, false) => format!(", its source made {}", after.0),
            (true, true) => format!(", made {} -> {}", after.0, self.named(after.1)),
        };
        let argument = verdict.argument();
        match verdict.action() {
            Action::Pass if leg.hook == Hook::Connect && translated.is_empty() => {
                "the socket keeps its address".to_owned()
            }
            Action::Pass if leg.hook == Hook::Connect => {
                format!("the socket is connected to {} instead", self.named(after.1))
            }
            Action::Pass if matches!(leg.hook, Hook::Xdp) => {
                format!("goes on to the next hook{translated}")
            }
            Action::Pass
                if matches!(leg.hook, Hook::PodEgress | Hook::NodeEgress | Hook::OverlayEgress) =>
            {
                format!("goes on its way{translated}")
            }
            Action::Pass => format!("goes on to the stack{translated}"),
            Action::Drop => format!("dropped: {}", verdict.reason().name()),
            Action::Reject => format!("rejected: {}", verdict.reason().name()),
            Action::ToPod => format!("into the pod behind {}{translated}", device(argument)),
            Action::ToPeer => format!("to {}{translated}", self.peer(argument)),
            Action::ToTunnel => {
                format!("as it is, in an outer header, to {}", self.peer(argument))
            }
            Action::Out => format!("out by {}{translated}", device(argument)),
            Action::Unwrap | Action::Error | Action::Open | Action::Route => {
                format!("{verdict:?}")
            }
        }
    }

    /// One plain sentence: where the packet goes and why.
    pub(crate) fn sentence(&self, journey: &Journey, protocol: u8) -> String {
        let (from, to) = journey.last;
        let why = self.why(journey);
        let as_whom = if from == self.first(journey).0 {
            String::new()
        } else {
            format!(", which sees {from} as its client")
        };
        let service = self.first(journey).1;
        match journey.end {
            End::Pod(_) => {
                let pod = self.named(to);
                format!("The packet reaches pod {pod} on this node{as_whom}{why}.")
            }
            End::Node => format!("The packet reaches this node itself at {to}{as_whom}{why}."),
            End::Peer(peer) => format!(
                "The packet leaves for {} and is for {}{as_whom}{why}.",
                self.peer(peer),
                self.named(to)
            ),
            End::Tunnel(peer) => format!(
                "The packet leaves as it is, in an outer header, for {}, whose backend answers the \
                 client straight{why}.",
                self.peer(peer)
            ),
            End::World(ifindex) => format!(
                "The packet leaves the cluster by {} for {to}{as_whom}{why}.",
                device(ifindex)
            ),
            End::Nobody => format!("The packet goes nowhere: no pod of this node has {}.", to.ip()),
            End::Stack => format!("The packet is given to this node's routes for {to}{why}."),
            End::Rejected(reason, hook) => format!(
                "The client is refused at once at {}: {} ({}){why}. What to do: {}.",
                hook.name(),
                because(reason, &service.to_string(), protocol),
                reason.name(),
                reason.advice()
            ),
            End::Dropped(reason, hook) => format!(
                "The packet is dropped at {}: {} ({}){why}. What to do: {}.",
                hook.name(),
                because(reason, &service.to_string(), protocol),
                reason.name(),
                reason.advice()
            ),
        }
    }

    fn first(&self, journey: &Journey) -> (SocketAddr, SocketAddr) {
        journey.legs.first().map_or(journey.last, |leg| leg.before)
    }

    /// Which Service's doing it is.
    fn why(&self, journey: &Journey) -> String {
        let steps = journey.legs.iter().flat_map(|leg| &leg.steps);
        let is_service = |trace: &&Trace| {
            trace.table == TraceTable::Services as u8 && trace.step == TraceStep::Found as u8
        };
        let flow = |trace: &&Trace| {
            let tables = [TraceTable::Flows, TraceTable::Embryos, TraceTable::Snat];
            trace.step == TraceStep::Found as u8
                && tables.iter().any(|table| *table as u8 == trace.table)
        };
        if steps.clone().any(|trace| flow(&trace)) {
            return ", because the connection is known already".to_owned();
        }
        let service = steps.filter(is_service).find_map(|trace| {
            let addr = F::addr_from_ip(address(trace.version, trace.dst))?;
            let (port_be, proto, scope) = (trace.dport_be, trace.proto, trace.scope);
            self.live.service(&ServiceKey { addr, port_be, proto, scope })
        });
        match service {
            Some(service) if service.flags & service_flags::REJECT == 0 => {
                let name = self.names.service(service.id);
                format!(", because {name} is a Service with {}", backends(&service))
            }
            _ => String::new(),
        }
    }
}

fn backends(service: &skep_abi::Service) -> String {
    match service.backend_count {
        0 => "no backend".to_owned(),
        1 => "one backend".to_owned(),
        count => format!("{count} backends"),
    }
}

/// What a reason says of the destination.
fn because(reason: Reason, to: &str, protocol_number: u8) -> String {
    let protocol = protocol(protocol_number);
    match reason {
        Reason::NoBackend => format!("nobody can serve {to} now"),
        Reason::NoServicePort => format!("the Service at {to} has no such {protocol} port"),
        Reason::UnknownService => format!("{to} is in the range of Services, but is none"),
        Reason::NoLocalBackend => {
            format!("{to} may be served by this node's pods only, and none of them does")
        }
        _ => format!("{to} cannot be reached"),
    }
}

/// What it means that a table has no such entry.
fn missing(table: TraceTable) -> String {
    match table {
        TraceTable::Services => "no Service",
        TraceTable::Flows | TraceTable::Embryos | TraceTable::Snat => "no known connection",
        TraceTable::Endpoints => "not on this node",
        TraceTable::Nodes => "not of another node",
        TraceTable::Sources => "the client is bound to no backend",
        TraceTable::Ranges => "not an allowed client",
        _ => "",
    }
    .to_owned()
}

fn address(version: u32, words: [u32; 4]) -> IpAddr {
    if version == 4 { V4::addr_to_ip([words[0]]) } else { V6::addr_to_ip(words) }
}

/// A device by its name, where it has one in this network namespace.
fn device(ifindex: u32) -> String {
    let devices = nix::net::if_::if_nameindex().ok();
    let named = devices.as_ref().and_then(|devices| {
        devices.iter().find(|device| device.index() == ifindex)?.name().to_str().ok()
    });
    named.map_or_else(|| format!("device {ifindex}"), ToOwned::to_owned)
}
