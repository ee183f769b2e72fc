//! Spreads endpoints over slices: what is in a slice stays there, what is new fills slices that are
//! written anyway, and no slice is written without need.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::endpoint::{Family, endpoint, ports};
use super::{MANAGED_BY, MANAGER, SERVICE_NAME, is_headless};
use crate::owner::{controller_of, controller_reference};
use crate::selector::Labels;

const HEADLESS: &str = "service.kubernetes.io/headless";

/// The writes that make the slices right.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

impl Changes {
    pub(super) fn append(&mut self, other: Self) {
        self.create.extend(other.create);
        self.update.extend(other.update);
        self.delete.extend(other.delete);
    }
}

/// Endpoints that share the same ports, by who they are.
#[derive(Default)]
struct Group {
    ports: Vec<EndpointPort>,
    endpoints: BTreeMap<Identity, Endpoint>,
}

type Identity = (Vec<String>, Option<String>);

fn identity(endpoint: &Endpoint) -> Identity {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (endpoint.addresses.clone(), uid)
}

/// What distinguishes one set of ports from another.
type PortsKey = Vec<(Option<String>, Option<i32>, Option<String>, Option<String>)>;

fn ports_key(ports: &[EndpointPort]) -> PortsKey {
    let fields = |port: &EndpointPort| {
        (port.name.clone(), port.port, port.protocol.clone(), port.app_protocol.clone())
    };
    let mut key: PortsKey = ports.iter().map(fields).collect();
    key.sort();
    key
}

/// Works out the writes for one family. `known` are the service's slices of that family.
pub(super) fn place(
    service: &Service,
    pods: &[(Arc<Pod>, Option<Arc<Node>>)],
    known: &[Arc<EndpointSlice>],
    family: Family,
    max_per_slice: usize,
) -> Changes {
    let mut groups: BTreeMap<PortsKey, Group> = BTreeMap::new();
    for (pod, node) in pods {
        let Some(endpoint) = endpoint(service, pod, node.as_deref(), family) else { continue };
        let ports = ports(service, pod);
        let group = groups.entry(ports_key(&ports)).or_default();
        group.ports = ports;
        group.endpoints.insert(identity(&endpoint), endpoint);
    }
    let mut changes = Changes::default();
    let mut by_ports: BTreeMap<PortsKey, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in known {
        let ours =
            controller_of(&slice.metadata).map(|owner| &owner.uid) == service.metadata.uid.as_ref();
        let key = ports_key(slice.ports.as_deref().unwrap_or_default());
        if ours && (groups.contains_key(&key) || is_placeholder(slice)) {
            by_ports.entry(key).or_default().push(slice.clone());
        } else {
            changes.delete.push(slice.clone());
        }
    }
    if groups.is_empty() {
        // A service without endpoints has one empty slice, so that its absence says nothing.
        groups.insert(PortsKey::new(), Group::default());
    }
    for (key, group) in groups {
        let slices = by_ports.remove(&key).unwrap_or_default();
        changes.append(place_group(service, group, slices, family, max_per_slice));
    }
    changes.delete.extend(by_ports.into_values().flatten());
    changes
}

fn is_placeholder(slice: &EndpointSlice) -> bool {
    slice.ports.as_ref().is_none_or(Vec::is_empty)
        && slice.endpoints.as_ref().is_none_or(Vec::is_empty)
}

fn place_group(
    service: &Service,
    group: Group,
    known: Vec<Arc<EndpointSlice>>,
    family: Family,
    max_per_slice: usize,
) -> Changes {
    let Group { ports, mut endpoints } = group;
    let labels = labels(service);
    let mut changes = Changes::default();
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>, bool)> = Vec::new();
    for slice in known {
        let before = slice.endpoints.as_deref().unwrap_or_default();
        let after: Vec<Endpoint> =
            before.iter().filter_map(|known| endpoints.remove(&identity(known))).collect();
        let changed = after != before || slice.metadata.labels.as_ref() != Some(&labels);
        kept.push((slice, after, changed));
    }
    let mut fresh: Vec<Endpoint> = endpoints.into_values().collect();
    // First into slices that are written anyway, the fullest first; then, if what is left does not
    // fill a slice of its own, into the fullest slice that has room for all of it.
    kept.sort_by_key(|(_, after, _)| std::cmp::Reverse(after.len()));
    for (_, after, changed) in &mut kept {
        if *changed {
            let room = max_per_slice.saturating_sub(after.len()).min(fresh.len());
            after.extend(fresh.drain(..room));
        }
    }
    let rest = fresh.len() % max_per_slice.max(1);
    if rest > 0
        && let Some((_, after, changed)) =
            kept.iter_mut().find(|(_, after, _)| after.len() + rest <= max_per_slice)
    {
        after.extend(fresh.drain(..rest));
        *changed = true;
    }
    let empty = kept.iter().all(|(_, after, _)| after.is_empty()) && fresh.is_empty();
    let mut spared = !empty;
    for (slice, after, changed) in kept {
        if after.is_empty() && (spared || !ports.is_empty()) {
            changes.delete.push(slice);
            continue;
        }
        spared |= after.is_empty();
        if changed {
            let mut slice = EndpointSlice::clone(&slice);
            slice.metadata.labels = Some(labels.clone());
            slice.endpoints = Some(after);
            changes.update.push(slice);
        }
    }
    for chunk in fresh.chunks(max_per_slice.max(1)) {
        changes.create.push(new_slice(service, &labels, family, &ports, chunk.to_vec()));
    }
    if empty && !spared {
        changes.create.push(new_slice(service, &labels, family, &[], Vec::new()));
    }
    changes
}

fn new_slice(
    service: &Service,
    labels: &Labels,
    family: Family,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels.clone()),
        owner_references: Some(vec![controller_reference(service)]),
        ..ObjectMeta::default()
    };
    EndpointSlice {
        metadata,
        address_type: family.as_str().into(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

/// The service's labels, and the slices' own.
fn labels(service: &Service) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    let name = service.metadata.name.clone().unwrap_or_default();
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels.insert(SERVICE_NAME.into(), name);
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "s1", "labels": {"team": "a"}},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}], "selector": {"app": "web"}},
        }))
        .unwrap()
    }

    fn pods(range: std::ops::Range<u8>) -> Vec<(Arc<Pod>, Option<Arc<Node>>)> {
        let pod = |n: u8| {
            serde_json::from_value(json!({
                "metadata": {"name": format!("p{n}"), "uid": format!("u{n}")},
                "status": {"podIP": format!("10.244.0.{n}")},
            }))
        };
        range.map(|n| (Arc::new(pod(n).unwrap()), None)).collect()
    }

    /// Applies the changes as the server would.
    fn apply(known: Vec<Arc<EndpointSlice>>, changes: Changes) -> Vec<Arc<EndpointSlice>> {
        let name = |slice: &EndpointSlice| slice.metadata.name.clone();
        let mut slices: Vec<_> =
            known.into_iter().filter(|slice| !changes.delete.contains(slice)).collect();
        for update in changes.update {
            let place = slices.iter_mut().find(|slice| name(slice) == name(&update)).unwrap();
            *place = Arc::new(update);
        }
        for (n, mut slice) in changes.create.into_iter().enumerate() {
            slice.metadata.name = Some(format!("web-{}-{n}", slices.len()));
            slices.push(Arc::new(slice));
        }
        slices
    }

    fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
        let mut sizes: Vec<usize> =
            slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn slices_follow_the_pods_with_few_writes() {
        let mut slices = Vec::new();
        // (pods, sizes after, writes)
        let steps = [
            (0..0, vec![0], 1),
            (0..0, vec![0], 0),
            // The empty slice has no ports and cannot become one of these.
            (0..5, vec![1, 4], 3),
            (0..5, vec![1, 4], 0),
            (0..7, vec![3, 4], 1),
            (2..8, vec![3, 3], 1),
            (2..4, vec![2], 2),
            (0..0, vec![0], 2),
        ];
        for (step, (range, expected, writes)) in steps.into_iter().enumerate() {
            let changes = place(&service(), &pods(range), &slices, Family::V4, 4);
            let count = changes.create.len() + changes.update.len() + changes.delete.len();
            slices = apply(slices, changes);
            assert_eq!(sizes(&slices), expected, "step {step}");
            assert_eq!(count, writes, "step {step}: writes");
        }
    }

    #[test]
    fn a_slice_carries_upstreams_labels() {
        let changes = place(&service(), &pods(1..2), &[], Family::V4, 100);
        let labels = changes.create[0].metadata.labels.as_ref().unwrap();
        assert_eq!(labels[SERVICE_NAME], "web");
        assert_eq!(labels[MANAGED_BY], MANAGER);
        assert_eq!(labels["team"], "a");
        assert!(!labels.contains_key(HEADLESS));
        assert_eq!(changes.create[0].metadata.generate_name.as_deref(), Some("web-"));
    }

    #[test]
    fn the_slices_of_an_earlier_service_of_that_name_go() {
        let old = place(&service(), &pods(1..2), &[], Family::V4, 100).create;
        let old: Vec<_> = old.into_iter().map(Arc::new).collect();
        let mut again = service();
        again.metadata.uid = Some("s2".into());
        let changes = place(&again, &pods(1..2), &old, Family::V4, 100);
        assert_eq!((changes.delete.len(), changes.create.len()), (1, 1));
    }
}
