//! The objects that the proxy has seen, and what each Service asks of this node.
//!
//! Work follows the change: an event marks the Services it touches, and only those are compiled
//! again. Nothing here does IO or reads a clock.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

use crate::endpoint::Slice;
use crate::frontend::{Family, Frontend, FrontendKey, Kind, PortTables, Scope, WhenEmpty};
use crate::local_node::LocalNode;
use crate::selection::{self, Selection};
use crate::service::{ProxiedService, ServiceName, ServicePort, TrafficPolicy};

/// Index of the cluster-wide set in [`PortTables::sets`]; the node's own follows if it is used.
const CLUSTER_SET: usize = 0;

/// A Service and its slices, each under its object's name.
#[derive(Debug, Default)]
struct Entry {
    service: Option<ProxiedService>,
    slices: HashMap<Box<str>, Slice>,
}

/// The objects seen so far and which Services changed since the last look.
#[derive(Debug, Default)]
pub struct Desired {
    node: LocalNode,
    entries: HashMap<ServiceName, Entry>,
    /// Which Service a slice was last seen with: a relabelled slice must leave the old one.
    slice_owner: HashMap<ServiceName, ServiceName>,
    changed: BTreeSet<ServiceName>,
}

impl Desired {
    /// Nothing seen yet, on this node.
    pub fn new(node: LocalNode) -> Self {
        Self { node, ..Self::default() }
    }

    /// Replaces what is known about this node; a difference touches every Service.
    pub fn set_node(&mut self, node: LocalNode) {
        if self.node != node {
            self.node = node;
            self.touch_all();
        }
    }

    /// Every Service is to be compiled again.
    pub fn touch_all(&mut self) {
        self.changed.extend(self.entries.keys().cloned());
    }

    /// A Service was created or changed.
    pub fn set_service(&mut self, object: &core::Service) {
        let name = service_name(object);
        let service = ProxiedService::parse(object);
        let entry = self.entries.entry(name.clone()).or_default();
        if entry.service != service {
            entry.service = service;
            self.changed.insert(name);
        }
    }

    /// A Service was deleted.
    pub fn remove_service(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.service = None;
            self.changed.insert(name.clone());
        }
    }

    /// An EndpointSlice was created or changed.
    pub fn set_slice(&mut self, object: &discovery::EndpointSlice) {
        let slice_name = slice_name(object);
        let Some((service, slice)) = Slice::parse(object) else {
            self.remove_slice(&slice_name);
            return;
        };
        if self.slice_owner.get(&slice_name).is_some_and(|owner| *owner != service) {
            self.remove_slice(&slice_name);
        }
        self.slice_owner.insert(slice_name.clone(), service.clone());
        let entry = self.entries.entry(service.clone()).or_default();
        if entry.slices.get(&slice_name.name) != Some(&slice) {
            entry.slices.insert(slice_name.name, slice);
            self.changed.insert(service);
        }
    }

    /// An EndpointSlice was deleted.
    pub fn remove_slice(&mut self, slice_name: &ServiceName) {
        let Some(service) = self.slice_owner.remove(slice_name) else { return };
        if let Some(entry) = self.entries.get_mut(&service) {
            entry.slices.remove(&slice_name.name);
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

    /// Compiles the Services that changed since the last call. One that asks for nothing (deleted,
    /// headless) comes with no ports.
    pub fn take_changed(&mut self) -> Vec<(ServiceName, Vec<PortTables>)> {
        let changed = std::mem::take(&mut self.changed);
        let compiled = changed.into_iter().map(|name| {
            let ports = self.entries.get(&name).map_or_else(Vec::new, |entry| self.compile(entry));
            if self.entries.get(&name).is_some_and(|e| e.service.is_none() && e.slices.is_empty()) {
                self.entries.remove(&name);
            }
            (name, ports)
        });
        compiled.collect()
    }

    /// The Services with endpoints on this node that a load balancer asks about: the port to
    /// answer on and how many of its endpoints are here.
    pub fn health_checks(&self) -> Vec<(ServiceName, u16, usize)> {
        let mut checks: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(name, entry)| {
                let port = entry.service.as_ref()?.health_check_node_port?;
                Some((name.clone(), port, self.local_endpoints(entry)))
            })
            .collect();
        checks.sort_unstable();
        checks
    }

    /// The pods behind endpoints, for people.
    pub fn pods(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        let slices = self.entries.values().flat_map(|entry| entry.slices.values());
        slices.flat_map(Slice::iter).filter_map(|e| Some((e.address.ip(), e.pod.as_deref()?)))
    }

    fn local_endpoints(&self, entry: &Entry) -> usize {
        let ports = entry.service.iter().flat_map(|service| &service.ports);
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

    fn compile(&self, entry: &Entry) -> Vec<PortTables> {
        let Some(service) = &entry.service else { return Vec::new() };
        let families: BTreeSet<Family> =
            service.cluster_ips.iter().map(|&address| Family::of(address)).collect();
        let compile = |(port, family)| {
            let selection = select(entry, port, family, &self.node);
            compile_port(service, port, family, selection, &self.node)
        };
        let ports = service.ports.iter();
        ports.flat_map(|port| families.iter().map(move |&f| (port, f))).map(compile).collect()
    }
}

/// Namespace and name of a Service object.
pub fn service_name(object: &core::Service) -> ServiceName {
    object_name(&object.metadata)
}

/// Namespace and name of an EndpointSlice object.
pub fn slice_name(object: &discovery::EndpointSlice) -> ServiceName {
    object_name(&object.metadata)
}

fn object_name(
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> ServiceName {
    ServiceName::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

fn select(entry: &Entry, port: &ServicePort, family: Family, node: &LocalNode) -> Selection {
    let endpoints = entry
        .slices
        .values()
        .flat_map(|slice| slice.endpoints(&port.name, port.protocol))
        .filter(|endpoint| Family::of(endpoint.address.ip()) == family);
    selection::select(&endpoints, node)
}

/// How one kind of traffic is served.
#[derive(Clone, Copy)]
struct Treatment {
    policy: TrafficPolicy,
    /// What an empty local set means: reject if no endpoint exists anywhere, else drop.
    any_serving: bool,
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
        }
    }
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
    let treat = |policy| Treatment { policy, any_serving: selection.any_serving };
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
            let frontend =
                treat(service.internal_policy).frontend(Kind::ClusterIp, service, local_set);
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
            let frontend = treat(policy).frontend(kind, service, local_set);
            frontends.push((key(address, number, scope), frontend));
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
    PortTables { name: port.name.clone(), family, sets, frontends, draining }
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
