//! The objects that the proxy has seen, and what each Service asks of this node.
//!
//! Work follows the change: an event marks the Services it touches, and only those are compiled
//! again. Nothing here does IO or reads a clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::ForwardingMode;
use crate::endpoint::{self, Slice};
use crate::frontend::{
    Family, Frontend, FrontendKey, Kind, PortTables, Protocol, Scope, SourceAddress, WhenEmpty,
};
use crate::guard::{Guard, MAX_PORTS, Refusal};
use crate::local_node::{LocalNode, Sources};
use crate::objects::{self, Object};
use crate::selection::{self, Selection};
use crate::service::{ProxiedService, ServiceName, ServicePort, TrafficPolicy};

/// Index of the cluster-wide set in [`PortTables::sets`]; the node's own follows if it is used.
const CLUSTER_SET: usize = 0;

/// A Service and its slices, each with its object's name. Most Services have one.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Box<ProxiedService>>,
    slices: Vec<(Arc<str>, Slice)>,
}

impl Entry {
    fn slices(&self) -> impl Iterator<Item = &Slice> + Clone {
        self.slices.iter().map(|(_, slice)| slice)
    }

    /// Adds or replaces a slice; whether that is another one than before.
    fn set_slice(&mut self, name: Arc<str>, slice: Slice) -> bool {
        match self.slices.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if *known == slice => false,
            Some((_, known)) => {
                *known = slice;
                true
            }
            None => {
                self.slices.reserve_exact(1);
                self.slices.push((name, slice));
                true
            }
        }
    }
}

/// The objects seen so far and which Services changed since the last look.
#[derive(Debug, Default)]
pub struct Desired {
    node: LocalNode,
    entries: HashMap<ServiceName, Entry>,
    /// Which Service a slice was last seen with: a relabelled slice must leave the old one.
    slice_owner: HashMap<ServiceName, ServiceName>,
    changed: BTreeSet<ServiceName>,
    health_checks: BTreeMap<ServiceName, HealthCheck>,
    refusals: BTreeMap<ServiceName, Vec<Refusal>>,
    names: endpoint::Names,
}

/// What a load balancer asks about a Service: the port to answer on, and how many of its endpoints are
/// on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// Where the load balancer asks.
    pub port: u16,
    /// Endpoints here that take new connections.
    pub local_endpoints: usize,
}

impl Desired {
    /// Nothing seen yet, on this node.
    pub fn new(node: LocalNode) -> Self {
        Self { node, ..Self::default() }
    }

    /// Replaces what is known about this node; a difference touches every Service.
    pub fn set_node(&mut self, node: LocalNode) {
        let old = std::mem::replace(&mut self.node, node);
        if (LocalNode { held: self.node.held.clone(), ..old.clone() }) != self.node {
            self.touch_all();
        } else {
            let differ = old.held.symmetric_difference(&self.node.held);
            let ports: BTreeSet<_> = differ.map(|held| (held.port, held.protocol)).collect();
            self.touch_ports(&ports);
        }
    }

    /// Services with one of these ports on the node are to be compiled again.
    fn touch_ports(&mut self, ports: &BTreeSet<(u16, Protocol)>) {
        if ports.is_empty() {
            return;
        }
        let asks = |port: &ServicePort| {
            let is_meant = |number| ports.contains(&(number, port.protocol));
            is_meant(port.port) || port.node_port.is_some_and(is_meant)
        };
        let asks = |(name, entry): (&ServiceName, &Entry)| {
            let ports = entry.service.iter().flat_map(|service| &service.ports);
            ports.into_iter().any(asks).then(|| name.clone())
        };
        self.changed.extend(self.entries.iter().filter_map(asks));
    }

    /// Whether any Service waits to be taken.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// How many Services wait to be taken.
    pub fn waiting(&self) -> usize {
        self.changed.len()
    }

    /// This Service is to be compiled again.
    pub fn touch(&mut self, name: &ServiceName) {
        if self.entries.contains_key(name) {
            self.changed.insert(name.clone());
        }
    }

    /// The uid of a Service; empty when it is not known.
    pub fn uid(&self, name: &ServiceName) -> &str {
        let service = self.entries.get(name).and_then(|entry| entry.service.as_ref());
        service.map_or("", |service| &service.uid)
    }

    /// Every Service is to be compiled again.
    pub fn touch_all(&mut self) {
        self.changed.extend(self.entries.keys().cloned());
    }

    /// A Service was created or changed.
    pub fn set_service(&mut self, object: &objects::Service) {
        let name = self.known_name(service_name(object));
        let service = ProxiedService::parse(object, &mut self.names).map(Box::new);
        let entry = self.entries.entry(name.clone()).or_default();
        if entry.service != service {
            entry.service = service;
            self.changed.insert(name);
        }
    }

    /// Forgets the names of what is gone: of namespaces, nodes and ports.
    pub fn forget_names(&mut self) {
        self.names.shrink();
    }

    /// The same name with the copy of its namespace that others have.
    fn known_name(&mut self, name: ServiceName) -> ServiceName {
        ServiceName { namespace: self.names.keep(&name.namespace), name: name.name }
    }

    /// A Service was deleted.
    pub fn remove_service(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.service = None;
            self.changed.insert(name.clone());
        }
    }

    /// An EndpointSlice was created or changed.
    pub fn set_slice(&mut self, object: &objects::EndpointSlice) {
        let slice_name = self.known_name(slice_name(object));
        let Some((service, slice)) = Slice::parse(object, &mut self.names) else {
            self.remove_slice(&slice_name);
            return;
        };
        if self.slice_owner.get(&slice_name).is_some_and(|owner| *owner != service) {
            self.remove_slice(&slice_name);
        }
        // One copy of each name.
        let known = self.entries.get_key_value(&service).map(|(name, _)| name.clone());
        let service = known.unwrap_or_else(|| self.known_name(service));
        let entry = self.entries.entry(service.clone()).or_default();
        if entry.set_slice(slice_name.name.clone(), slice) {
            self.changed.insert(service.clone());
        }
        self.slice_owner.insert(slice_name, service);
    }

    /// An EndpointSlice was deleted.
    pub fn remove_slice(&mut self, slice_name: &ServiceName) {
        let Some(service) = self.slice_owner.remove(slice_name) else { return };
        if let Some(entry) = self.entries.get_mut(&service) {
            entry.slices.retain(|(name, _)| *name != slice_name.name);
            self.changed.insert(service);
        }
    }

    /// A fresh list of Services is complete: what it does not name is gone.
    pub fn retain_services(&mut self, listed: &BTreeSet<ServiceName>) {
        let gone = |(name, entry): (&ServiceName, &Entry)| {
            (entry.service.is_some() && !listed.contains(name)).then(|| name.clone())
        };
        let gone: Vec<_> = self.entries.iter().filter_map(gone).collect();
        gone.iter().for_each(|name| self.remove_service(name));
    }

    /// A fresh list of EndpointSlices is complete: what it does not name is gone.
    pub fn retain_slices(&mut self, listed: &BTreeSet<ServiceName>) {
        let gone: Vec<_> =
            self.slice_owner.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.remove_slice(name));
    }

    /// Compiles Services that changed and were not taken yet, `at_most` so many. One that asks for
    /// nothing (deleted, headless) comes with no ports.
    pub fn take_changed(&mut self, at_most: usize) -> Vec<(ServiceName, Vec<PortTables>)> {
        let mut compiled = Vec::new();
        while compiled.len() < at_most
            && let Some(name) = self.changed.pop_first()
        {
            let (ports, refusals) =
                self.entries.get(&name).map_or_else(Default::default, |entry| self.compile(entry));
            match refusals.is_empty() {
                true => self.refusals.remove(&name),
                false => self.refusals.insert(name.clone(), refusals),
            };
            self.count_local_endpoints(&name);
            if self.entries.get(&name).is_some_and(|e| e.service.is_none() && e.slices.is_empty()) {
                self.entries.remove(&name);
            }
            compiled.push((name, ports));
        }
        compiled
    }

    fn count_local_endpoints(&mut self, name: &ServiceName) {
        let check = self.entries.get(name).and_then(|entry| {
            let port = entry.service.as_ref()?.health_check_node_port?;
            Some(HealthCheck { port, local_endpoints: self.local_endpoints(entry) })
        });
        match check {
            Some(check) => self.health_checks.insert(name.clone(), check),
            None => self.health_checks.remove(name),
        };
    }

    /// The Services that load balancers ask about, as far as they were taken.
    pub fn health_checks(&self) -> &BTreeMap<ServiceName, HealthCheck> {
        &self.health_checks
    }

    /// What a Service must not have, as of when it was taken.
    pub fn refusals(&self, name: &ServiceName) -> &[Refusal] {
        self.refusals.get(name).map_or(&[], Vec::as_slice)
    }

    /// The pods behind endpoints, for people.
    pub fn pods(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.entries.values().flat_map(Entry::slices).flat_map(Slice::pods)
    }

    /// The pods behind one Service's endpoints.
    pub fn pods_of(&self, name: &ServiceName) -> impl Iterator<Item = (IpAddr, &str)> {
        self.entries.get(name).into_iter().flat_map(Entry::slices).flat_map(Slice::pods)
    }

    fn local_endpoints(&self, entry: &Entry) -> usize {
        let ports = entry.service.iter().flat_map(|service| &service.ports).take(MAX_PORTS);
        let addresses: BTreeSet<IpAddr> = ports
            .flat_map(|port| {
                let families = [Family::V4, Family::V6];
                families.map(|family| select(entry, port, family, &self.node).local)
            })
            .flatten()
            .map(|backend| backend.address.ip())
            .collect();
        addresses.len()
    }

    fn compile(&self, entry: &Entry) -> (Vec<PortTables>, Vec<Refusal>) {
        let Some(service) = &entry.service else { return Default::default() };
        let families: BTreeSet<Family> =
            service.cluster_ips.iter().map(|&address| Family::of(address)).collect();
        let mut guard = Guard::new(&self.node);
        let refused = entry.slices().flat_map(Slice::refused);
        refused.for_each(|address| guard.refuse_endpoint(*address));
        for (number, port) in service.ports.iter().enumerate() {
            for &family in families.iter().filter(|_| number < MAX_PORTS) {
                let selection = select(entry, port, family, &self.node);
                guard.take(compile_port(service, port, family, selection, &self.node));
            }
            if number == MAX_PORTS || !guard.has_room() {
                guard.leave_out(service.ports.len() - number);
                break;
            }
        }
        guard.finish()
    }
}

/// Namespace and name of a Service object.
pub fn service_name(object: &objects::Service) -> ServiceName {
    object_name(object)
}

/// Namespace and name of an EndpointSlice object.
pub fn slice_name(object: &objects::EndpointSlice) -> ServiceName {
    object_name(object)
}

fn object_name(object: &impl Object) -> ServiceName {
    let meta = object.meta();
    ServiceName::new(&meta.namespace, &meta.name)
}

fn select(entry: &Entry, port: &ServicePort, family: Family, node: &LocalNode) -> Selection {
    let endpoints = entry
        .slices()
        .flat_map(|slice| slice.on_port(&port.name, port.protocol))
        .filter(|(endpoint, _)| Family::of(endpoint.address) == family);
    selection::select(&endpoints, node)
}

/// How one kind of traffic is served.
#[derive(Clone, Copy)]
struct Treatment {
    policy: TrafficPolicy,
    /// What an empty local set means: reject if no endpoint exists anywhere, else drop.
    any_serving: bool,
    source: SourceAddress,
    dsr: bool,
    /// Whether the Service admits only some clients of its balancer's addresses.
    ranged: bool,
}

impl Treatment {
    fn frontend(self, kind: Kind, service: &ProxiedService, local_set: usize) -> Frontend {
        let local_only = self.policy == TrafficPolicy::Local;
        Frontend {
            kind,
            set: if local_only { local_set } else { CLUSTER_SET },
            affinity_s: service.affinity_s,
            local_only,
            when_empty: if local_only && self.any_serving {
                WhenEmpty::Drop
            } else {
                WhenEmpty::Reject
            },
            source: self.source,
            ranged: self.ranged && kind == Kind::LoadBalancer,
            dsr: self.dsr,
        }
    }
}

/// Which source the backends of a cluster address see.
fn cluster_ip_source(sources: Sources, scope: Scope) -> SourceAddress {
    match sources {
        Sources { masquerade_all: true, .. } => SourceAddress::Masked,
        Sources { foreign: true, detects_local, .. }
            if scope == Scope::Inside || !detects_local =>
        {
            SourceAddress::Kept
        }
        Sources { .. } => SourceAddress::AsPlaced,
    }
}

/// Which source the backends of any other address see. What comes from outside under a Local policy
/// keeps its own anyway.
fn external_source(
    sources: Sources,
    scope: Scope,
    external_policy: TrafficPolicy,
) -> SourceAddress {
    let from_pod = scope == Scope::Inside && external_policy == TrafficPolicy::Local;
    if sources.foreign && from_pod { SourceAddress::Kept } else { SourceAddress::AsPlaced }
}

fn compile_port(
    service: &ProxiedService,
    port: &ServicePort,
    family: Family,
    selection: Selection,
    node: &LocalNode,
) -> PortTables {
    // Equal sets share one: a service whose endpoints are all here, or are all gone.
    let shared = selection.local == selection.cluster;
    let local_set = if shared { CLUSTER_SET } else { CLUSTER_SET + 1 };
    let source_ranges = source_ranges(service, family);
    let (any_serving, ranged) = (selection.any_serving, !source_ranges.is_empty());
    let treat = |policy, source| Treatment { policy, any_serving, source, dsr: false, ranged };
    let dsr = answers_straight(service, node.sources);
    let key = |address, number, scope| FrontendKey {
        address,
        port: number,
        protocol: port.protocol,
        scope,
    };

    let mut frontends = Vec::new();
    // Who comes from outside with a cluster address was routed here by somebody: same rules.
    for scope in [Scope::Inside, Scope::Outside] {
        for &address in service.cluster_ips.iter().filter(|&&a| Family::of(a) == family) {
            let source = cluster_ip_source(node.sources, scope);
            let treatment = treat(service.internal_policy, source);
            let frontend = treatment.frontend(Kind::ClusterIp, service, local_set);
            frontends.push((key(address, port.port, scope), frontend));
        }
    }
    let mut external = external_addresses(service, port, node);
    external.retain(|&(address, ..)| Family::of(address) == family);
    for (scope, policy) in [
        // This node and its pods reach an external address as if it were a cluster address.
        (Scope::Inside, TrafficPolicy::Cluster),
        (Scope::Outside, service.external_policy),
    ] {
        for &(address, number, kind) in &external {
            // Nobody outside has this node's loopback address as its destination.
            if scope == Scope::Outside && address.is_loopback() {
                continue;
            }
            let source = external_source(node.sources, scope, service.external_policy);
            let dsr = dsr && scope == Scope::Outside;
            let treatment = Treatment { dsr, ..treat(policy, source) };
            let frontend = treatment.frontend(kind, service, local_set);
            frontends.push((key(address, number, scope), frontend));
            if dsr {
                // What other nodes send here for one of this node's backends.
                let local =
                    Treatment { policy: TrafficPolicy::Local, any_serving: true, ..treatment };
                let frontend = local.frontend(kind, service, local_set);
                frontends.push((key(address, number, Scope::Local), frontend));
            }
        }
    }
    let uses_local = frontends.iter().any(|(_, frontend)| frontend.local_only);
    let mut draining = selection.draining;
    let mut sets = vec![selection.cluster];
    if !shared && uses_local {
        sets.push(selection.local);
    } else if !shared {
        // Nobody asks for the local set, but what it alone holds still drains.
        draining.extend(
            selection
                .local
                .into_iter()
                .filter(|b| !sets[CLUSTER_SET].iter().any(|c| c.address == b.address)),
        );
        draining.sort_unstable();
    }
    PortTables { name: port.name.clone(), family, sets, frontends, source_ranges, draining }
}

/// Who may use the balancer's addresses of one family; empty means everybody.
fn source_ranges(service: &ProxiedService, family: Family) -> Vec<IpNet> {
    let of_family = |range: &&IpNet| Family::of(range.addr()) == family;
    let mut ranges: Vec<_> =
        service.source_ranges.iter().filter(of_family).map(IpNet::trunc).collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

/// Whether backends answer clients from outside straight. Under a Local policy they do anyway, and
/// between nodes of somebody else's network nothing carries packets as they came.
fn answers_straight(service: &ProxiedService, sources: Sources) -> bool {
    let default = if sources.dsr { ForwardingMode::Dsr } else { ForwardingMode::Snat };
    service.forwarding.unwrap_or(default) == ForwardingMode::Dsr
        && service.external_policy == TrafficPolicy::Cluster
        && !sources.foreign
}

fn external_addresses(
    service: &ProxiedService,
    port: &ServicePort,
    node: &LocalNode,
) -> Vec<(IpAddr, u16, Kind)> {
    let node_ports = port
        .node_port
        .into_iter()
        .flat_map(|number| node.node_port_addresses().map(move |a| (a, number, Kind::NodePort)));
    let external = service.external_ips.iter().map(|&a| (a, port.port, Kind::ExternalIp));
    let balancer = service.load_balancer_ips.iter().map(|&a| (a, port.port, Kind::LoadBalancer));
    node_ports.chain(external).chain(balancer).collect()
}

#[cfg(test)]
mod tests;
