use std::sync::Arc;

use super::*;
use crate::cluster::OwnerKind;
use crate::selector::{Labels, NodeRequirements, Selector};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn app(uid: &str) -> PodInfo {
    PodInfo {
        uid: uid.into(),
        namespace: "a".into(),
        labels: labels(&[("app", "web")]),
        ..PodInfo::default()
    }
}

/// Nodes `n1`.. in the given zones with the given number of pods.
fn cluster(nodes: &[(&str, usize)]) -> Cluster {
    let mut cluster = Cluster::default();
    for (index, (zone, pods)) in nodes.iter().enumerate() {
        let name = format!("n{}", index + 1);
        let mut all = labels(&[(HOSTNAME, &name)]);
        if !zone.is_empty() {
            all.insert(ZONE.into(), (*zone).to_owned());
        }
        cluster.set_node(NodeInfo { name: name.clone(), labels: all, ..NodeInfo::default() });
        for pod in 0..*pods {
            cluster.assume(Arc::new(app(&format!("{name}-{pod}"))), &name);
        }
    }
    cluster
}

fn constraint(key: &str, max_skew: i32, required: bool) -> SpreadConstraint {
    SpreadConstraint {
        max_skew,
        topology_key: key.into(),
        required,
        selector: Selector::of_labels(&labels(&[("app", "web")])),
        min_domains: 1,
        honor_affinity: true,
        honor_taints: false,
    }
}

/// One letter per node: `.` fits, `x` too crowded, `l` lacks the label.
fn verdicts(pod: &PodInfo, cluster: &Cluster) -> String {
    let filter = PodTopologySpread.prepare(pod, cluster).unwrap().unwrap();
    let letter = |node: &NodeInfo| match filter.check(node) {
        Ok(()) => '.',
        Err(rejection) if rejection.reasons == [NO_LABEL] => 'l',
        Err(rejection) => {
            assert_eq!(rejection, Rejection::resolvable(NAME, MISMATCH));
            'x'
        }
    };
    cluster.nodes().iter().map(letter).collect()
}

#[test]
fn no_domain_may_have_too_many_more_than_the_least() {
    type Nodes = &'static [(&'static str, usize)];
    let cases: [(Nodes, i32, i32, &str); 6] = [
        (&[("a", 1), ("a", 0), ("b", 0)], 1, 1, "xx."),
        (&[("a", 1), ("a", 0), ("b", 1)], 1, 1, "..."),
        (&[("a", 2), ("b", 1)], 2, 1, ".."),
        (&[("a", 3), ("b", 1)], 2, 1, "x."),
        (&[("a", 0), ("", 0)], 1, 1, ".l"),
        (&[("a", 1), ("b", 1)], 1, 3, "xx"),
    ];
    for (nodes, max_skew, min_domains, expected) in cases {
        let mut pod = app("new");
        pod.spread = vec![SpreadConstraint { min_domains, ..constraint(ZONE, max_skew, true) }];
        assert_eq!(verdicts(&pod, &cluster(nodes)), expected, "{nodes:?} skew {max_skew}");
    }
}

#[test]
fn nodes_the_pod_cannot_use_do_not_count_as_empty_domains() {
    let cluster = cluster(&[("a", 1), ("b", 1), ("c", 0)]);
    let mut pod = app("new");
    pod.spread = vec![constraint(ZONE, 1, true)];
    assert_eq!(verdicts(&pod, &cluster), "xx.");
    pod.node_requirements = NodeRequirements::new(Some(&labels(&[(ZONE, "a")])), None);
    assert_eq!(verdicts(&pod, &cluster), "...", "the empty domain is not one for this pod");
    pod.spread[0].honor_affinity = false;
    assert_eq!(verdicts(&pod, &cluster), "xx.");
}

#[test]
fn trying_out_without_a_pod_makes_room() {
    let cluster = cluster(&[("a", 2), ("b", 1)]);
    let mut pod = app("new");
    pod.spread = vec![constraint(ZONE, 1, true)];
    let mut filter = PodTopologySpread.prepare(&pod, &cluster).unwrap().unwrap();
    let node = &cluster.nodes()[0];
    assert!(filter.check(node).is_err());
    let copy = filter.copy();
    filter.update(&node.pods[0], node, -1);
    assert!(filter.check(node).is_ok());
    assert!(copy.check(node).is_err(), "a copy stays as it was");
}

fn scores(pod: &PodInfo, cluster: &Cluster) -> Option<Vec<i64>> {
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    PodTopologySpread.score(pod, cluster, &nodes)
}

#[test]
fn preferred_constraints_score_the_emptier_domains() {
    let cluster = cluster(&[("a", 3), ("a", 0), ("b", 1), ("", 0)]);
    let mut pod = app("new");
    pod.spread = vec![constraint(ZONE, 1, false)];
    let found = scores(&pod, &cluster).unwrap();
    assert_eq!(found[0], found[1], "one zone, one score");
    assert!(found[2] > found[0]);
    assert_eq!(found[3], 0, "a node without the label takes no part");
}

#[test]
fn replicas_spread_over_nodes_without_being_told() {
    let mut cluster = cluster(&[("", 2), ("", 0), ("", 1)]);
    let pod = app("new");
    assert_eq!(scores(&pod, &cluster), None, "nothing speaks of the pod");
    let selector = Selector::of_labels(&labels(&[("app", "web")]));
    cluster.set_owner(OwnerKind::Service, "a".into(), "web".into(), Some(selector));
    let found = scores(&pod, &cluster).unwrap();
    assert!(found[1] > found[2] && found[2] > found[0], "{found:?}");
}

#[test]
fn no_pods_anywhere_is_the_best_score_everywhere() {
    let mut pod = app("new");
    pod.spread = vec![constraint(ZONE, 1, false)];
    assert_eq!(scores(&pod, &cluster(&[("a", 0), ("b", 0)])), Some(vec![100, 100]));
}
