//! Which endpoints of a port take new connections on this node.
//!
//! The rules are those that upstream documents for Services: KEP-1669 (terminating endpoints),
//! KEP-2086 (internalTrafficPolicy), KEP-2433 and KEP-4444 (topology hints).

use std::net::SocketAddr;

use crate::endpoint::{Endpoint, Hints};
use crate::frontend::{Backend, BackendState};
use crate::local_node::LocalNode;

/// The outcome for one port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// What serves traffic that may go anywhere in the cluster; sorted by address, without repeats.
    pub cluster: Vec<Backend>,
    /// What serves traffic that must stay on this node; sorted by address, without repeats.
    pub local: Vec<Backend>,
    /// Endpoints in neither set. What is open to them goes on.
    pub draining: Vec<Backend>,
    /// Whether any endpoint of the cluster, followed hints or not, could serve.
    pub any_serving: bool,
}

/// An endpoint and the number of the port in question.
pub type Listening<'a> = (&'a Endpoint, u16);

/// Sorts the endpoints of one port into sets.
pub fn select<'a>(
    endpoints: &(impl Iterator<Item = Listening<'a>> + Clone),
    node: &LocalNode,
) -> Selection {
    let ready = || endpoints.clone().filter(|(endpoint, _)| endpoint.ready);
    let ending = || endpoints.clone().filter(|(e, _)| e.serving && e.terminating);
    let is_local = |(endpoint, _): &Listening<'_>| endpoint.node.as_deref() == Some(&*node.name);

    let hinted = hinted(&ready(), node);
    let cluster = or_else(backends(hinted.into_iter(), node), || backends(ending(), node));
    let local = or_else(backends(ready().filter(is_local), node), || {
        backends(ending().filter(is_local), node)
    });
    let mut draining = backends(endpoints.clone(), node);
    draining.retain(|backend| {
        let chosen =
            |set: &[Backend]| set.binary_search_by_key(&backend.address, |b| b.address).is_ok();
        !chosen(&cluster) && !chosen(&local)
    });
    for backend in &mut draining {
        backend.state = BackendState::Terminating;
    }
    let any_serving = !cluster.is_empty();
    Selection { cluster, local, draining, any_serving }
}

fn or_else(first: Vec<Backend>, second: impl FnOnce() -> Vec<Backend>) -> Vec<Backend> {
    if first.is_empty() { second() } else { first }
}

/// Sorted by address; of an address that is listed twice (a pod's old and new slice, say) the better
/// state counts.
fn backends<'a>(endpoints: impl Iterator<Item = Listening<'a>>, node: &LocalNode) -> Vec<Backend> {
    let mut backends: Vec<Backend> = endpoints
        .map(|(endpoint, port)| Backend {
            address: SocketAddr::new(endpoint.address, port),
            state: if endpoint.ready { BackendState::Active } else { BackendState::Terminating },
            local: endpoint.node.as_deref() == Some(&*node.name),
        })
        .collect();
    backends.sort_unstable();
    backends.dedup_by_key(|backend| backend.address);
    backends
}

/// The ready endpoints that hints prefer for this node, or all of them: hints count only when
/// every ready endpoint has some and at least one of them names this node (or its zone).
fn hinted<'a>(
    ready: &(impl Iterator<Item = Listening<'a>> + Clone),
    node: &LocalNode,
) -> Vec<Listening<'a>> {
    let prefer = |kind: fn(&Hints) -> &[Box<str>], own: Option<&str>| {
        let own = own?;
        let hints = |(endpoint, _): &Listening<'a>| endpoint.hints.as_deref().map_or(&[][..], kind);
        let all_hinted = ready.clone().all(|endpoint| !hints(&endpoint).is_empty());
        let named = ready.clone().filter(|e| hints(e).iter().any(|hint| &**hint == own));
        let named: Vec<_> = named.collect();
        (all_hinted && !named.is_empty()).then_some(named)
    };
    prefer(|hints| &hints.nodes, Some(&node.name))
        .or_else(|| prefer(|hints| &hints.zones, node.zone.as_deref()))
        .unwrap_or_else(|| ready.clone().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `state` has one letter per condition that holds: r(eady), s(erving), t(erminating).
    fn endpoint(last_octet: u8, node: &str, state: &str) -> Endpoint {
        Endpoint {
            address: [10, 244, 0, last_octet].into(),
            ready: state.contains('r'),
            serving: state.contains('s'),
            terminating: state.contains('t'),
            node: Some(node.into()),
            hints: None,
        }
    }

    fn node() -> LocalNode {
        LocalNode { name: "a".into(), zone: Some("east".into()), ..LocalNode::default() }
    }

    fn octets(backends: &[Backend]) -> Vec<u8> {
        let octet = |backend: &Backend| match backend.address {
            SocketAddr::V4(address) => address.ip().octets()[3],
            SocketAddr::V6(_) => panic!("no such endpoint here"),
        };
        backends.iter().map(octet).collect()
    }

    #[test]
    fn terminating_endpoints_serve_only_when_nothing_ready_is_left() {
        // (name, endpoints, cluster, local, draining)
        type Case = (&'static str, Vec<Endpoint>, &'static [u8], &'static [u8], &'static [u8]);
        let cases: Vec<Case> = vec![
            ("none", vec![], &[], &[], &[]),
            ("all ready", vec![endpoint(2, "b", "rs"), endpoint(1, "a", "rs")], &[1, 2], &[1], &[]),
            (
                "a local one ends, a remote one is ready",
                vec![endpoint(1, "a", "st"), endpoint(2, "b", "rs")],
                &[2],
                &[1],
                &[],
            ),
            (
                "every one ends",
                vec![endpoint(1, "a", "st"), endpoint(2, "b", "st")],
                &[1, 2],
                &[1],
                &[],
            ),
            (
                "one ends and no longer serves",
                vec![endpoint(1, "a", "t"), endpoint(2, "b", "rs")],
                &[2],
                &[],
                &[1],
            ),
            ("none is ready", vec![endpoint(1, "a", ""), endpoint(2, "b", "")], &[], &[], &[1, 2]),
            ("listed twice", vec![endpoint(1, "a", "st"), endpoint(1, "a", "rs")], &[1], &[1], &[]),
        ];
        for (name, endpoints, cluster, local, draining) in cases {
            let selection = select(&endpoints.iter().map(|e| (e, 80)), &node());
            assert_eq!(octets(&selection.cluster), cluster, "{name}: cluster");
            assert_eq!(octets(&selection.local), local, "{name}: local");
            assert_eq!(octets(&selection.draining), draining, "{name}: draining");
            assert_eq!(selection.any_serving, !cluster.is_empty(), "{name}: any serving");
        }
    }

    #[test]
    fn hints_count_only_when_all_have_them_and_one_names_us() {
        let hinted = |last, zones: &[&str], nodes: &[&str]| Endpoint {
            hints: Some(Box::new(Hints {
                zones: zones.iter().map(|&zone| zone.into()).collect(),
                nodes: nodes.iter().map(|&node| node.into()).collect(),
            })),
            ..endpoint(last, "b", "rs")
        };
        // (name, endpoints, cluster)
        let cases: Vec<(&str, Vec<Endpoint>, &[u8])> = vec![
            ("own zone", vec![hinted(1, &["east"], &[]), hinted(2, &["west"], &[])], &[1]),
            ("one without hint", vec![hinted(1, &["east"], &[]), hinted(2, &[], &[])], &[1, 2]),
            ("no hint for us", vec![hinted(1, &["west"], &[]), hinted(2, &["west"], &[])], &[1, 2]),
            (
                "own node before own zone",
                vec![hinted(1, &["east"], &["b"]), hinted(2, &["east"], &["a"])],
                &[2],
            ),
        ];
        for (name, endpoints, cluster) in cases {
            assert_eq!(
                octets(&select(&endpoints.iter().map(|e| (e, 80)), &node()).cluster),
                cluster,
                "{name}"
            );
        }
    }
}
