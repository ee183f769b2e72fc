//! Where skep differs from upstream's kube-proxy on purpose, and why.

use std::collections::BTreeMap;

use crate::compare::Difference;
use crate::outcome::{Outcome, Outcomes, Source};
use crate::shape::Ranges;
use crate::terms::{Address, Protocol, Sender};

/// A difference that is meant. Every run meets it.
pub(crate) struct Exception {
    /// Why it is.
    pub(crate) reason: &'static str,
    /// Whether it is this difference.
    pub(crate) applies: fn(&Difference<'_>) -> bool,
}

/// All of them.
pub(crate) const ALL: &[Exception] = &[
    Exception {
        reason: "a node port on a loopback address: kube-proxy's nftables mode refuses it; skep serves it, as \
                 kube-proxy's iptables mode does, since programs on nodes rely on it",
        applies: |difference| {
            difference.case.address == Address::NodePortLoopback
                && difference.upstream.is(&Outcome::Refused)
        },
    },
    Exception {
        reason: "a pod that reaches itself through a Service: kube-proxy hides it behind the node for the sake \
                 of the way back; skep's socket is connected to the pod's own address from the start",
        applies: |difference| {
            difference.case.sender == Sender::Endpoint
                && keeps_sources(difference, |server| server == "near")
        },
    },
    Exception {
        reason: "a pod of the node that uses an external address, a balancer's or a node port: kube-proxy hides \
                 it behind the node; skep's socket is connected to the endpoint, which sees the pod",
        applies: |difference| {
            let case = &difference.case;
            matches!(case.sender, Sender::Endpoint | Sender::Pod)
                && !matches!(case.address, Address::Cluster | Address::ClusterOtherPort)
                && keeps_sources(difference, |_| true)
        },
    },
    Exception {
        reason: "traffic from elsewhere to an endpoint on the node: kube-proxy hides the client behind the node \
                 unless the policy is Local; skep keeps the client's address, since the answer passes the \
                 node in any case",
        applies: |difference| {
            !difference.case.sender.is_near() && keeps_sources(difference, is_on_node)
        },
    },
    Exception {
        reason: "what kube-proxy drops of the node's pods and processes (internal policy Local without an \
                 endpoint on the node; a process outside of a balancer's source ranges): skep's sockets fail \
                 at once with EHOSTUNREACH",
        applies: |difference| {
            let case = &difference.case;
            let dropped = difference.upstream.is(&Outcome::Silent)
                || difference.upstream.is(&Outcome::Error("permission denied".to_owned()));
            let inside = case.address == Address::Cluster && case.shape.internal_local;
            let ranged =
                case.address == Address::Balancer && case.shape.ranges != Ranges::Everybody;
            case.sender.is_near()
                && (inside || ranged)
                && dropped
                && difference.ours.is(&Outcome::Error("host unreachable".to_owned()))
        },
    },
    Exception {
        reason: "an address in the Services' range that no Service has: kube-proxy lets the node's pods and \
                 processes send to it, by whatever route there is; skep's sockets fail at once with \
                 EHOSTUNREACH",
        applies: |difference| {
            let case = &difference.case;
            case.sender.is_near()
                && matches!(case.address, Address::Cluster | Address::ClusterOtherPort)
                && !case.shape.families.contains(&case.family)
                && !difference.upstream.0.iter().any(Outcome::is_served)
                && difference.ours.is(&Outcome::Error("host unreachable".to_owned()))
        },
    },
    Exception {
        reason: "a refused datagram of a process on the node: kube-proxy's rule makes the kernel say EPERM; \
                 skep says ECONNREFUSED, as for every other sender",
        applies: |difference| {
            let case = &difference.case;
            let denied = Outcome::Error("permission denied".to_owned());
            (case.sender, case.protocol) == (Sender::Node, Protocol::Udp)
                && difference.upstream.is(&denied)
                && difference.ours.is(&Outcome::Refused)
        },
    },
];

fn is_on_node(server: &str) -> bool {
    ["near", "nearother", "node1"].contains(&server)
}

/// Whether the same servers answered, and some of `whose` saw the sender where upstream's saw the node.
fn keeps_sources(difference: &Difference<'_>, whose: fn(&str) -> bool) -> bool {
    let seen = |outcomes: &Outcomes| -> Option<BTreeMap<String, Source>> {
        let one = |outcome: &Outcome| match outcome {
            Outcome::Served { by, from } => Some((by.clone(), *from)),
            _ => None,
        };
        let seen: Option<BTreeMap<_, _>> = outcomes.0.iter().map(one).collect();
        seen.filter(|seen| seen.len() == outcomes.0.len())
    };
    let (Some(upstream), Some(ours)) = (seen(&difference.upstream), seen(&difference.ours)) else {
        return false;
    };
    let fits = |server: &str, upstream: Source, ours: Source| {
        upstream == ours || (upstream, ours) == (Source::Node, Source::Sender) && whose(server)
    };
    upstream.keys().eq(ours.keys())
        && upstream.iter().all(|(server, from)| fits(server, *from, ours[server]))
}
