//! Services over somebody else's pod network: pods' packets come in by devices of the node, and the
//! kernel's routes lead to the backends.

use skep_abi::{service_flags, via};

use super::{Case, Drop, Frame, Front, IN, InConfig, NODE_PORT, Pass, Redirect, World, flags};
use crate::world::SNAT_PORT;

/// All of them.
pub(super) fn foreign<F: InConfig>() -> Vec<Case<F>> {
    let world = || World::<F>::new().foreign();
    let pod = (F::pod_a(), 4000);
    let client = (F::client(), 5000);
    let (local, remote) = ((F::pod_b(), 8080), (F::near_pod(), 8080));
    let cluster = (F::service(1), 80);
    let node_port = (F::node(), NODE_PORT);
    let snat = (F::node(), SNAT_PORT);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let syn_ack = |from, to| Frame::<F>::tcp(from, to, flags::SYN_ACK);
    let front = |to: (F::Addr, u16), flags| Front { flags, ..Front::<F>::tcp(to.0, to.1) };
    let keep = |to| front(to, service_flags::KEEP_SOURCE);
    vec![
        Case::new(
            "a foreign pod keeps its address on the way to a cluster address's backend",
            world().service(keep(cluster), &[(remote.0, remote.1, via::DEVICE)]),
        )
        .send(IN, &syn(pod, cluster), Redirect, &syn(pod, remote).hop())
        .send(IN, &syn_ack(remote, pod), Redirect, &syn_ack(cluster, pod).hop()),
        Case::new(
            "a foreign pod reaches itself through a Service under the node's address",
            world().service(keep(cluster), &[(pod.0, 8080, via::DEVICE)]),
        )
        .send(IN, &syn(pod, cluster), Redirect, &syn(snat, (pod.0, 8080)).hop())
        .send(IN, &syn_ack((pod.0, 8080), snat), Redirect, &syn_ack(cluster, pod).hop()),
        Case::new(
            "a Service that masquerades hides even a pod",
            world().service(
                front(cluster, service_flags::KEEP_SOURCE | service_flags::MASQUERADE),
                &[(local.0, local.1, via::DEVICE)],
            ),
        )
        .send(IN, &syn(pod, cluster), Redirect, &syn(snat, local).hop()),
        Case::new(
            "a node port over a foreign network, from this node's address",
            world().service(
                front(node_port, service_flags::NODE_PORT),
                &[(local.0, local.1, via::DEVICE)],
            ),
        )
        .send(IN, &syn(client, node_port), Redirect, &syn(snat, local).hop())
        .send(IN, &syn_ack(local, snat), Redirect, &syn_ack(node_port, client).hop()),
        Case::new(
            "a backend with no known device is left to the stack's routes",
            world().service(keep(cluster), &[(remote.0, remote.1, via::LOOKUP)]),
        )
        .send(IN, &syn(pod, cluster), Pass, &syn(pod, remote)),
        Case::new(
            "a port that a cluster address does not have is rejected",
            world().service(keep(cluster), &[]).rejecting(cluster.0),
        )
        .send(
            IN,
            &syn(client, (cluster.0, 81)),
            Redirect,
            &syn(client, (cluster.0, 81)).reset(),
        ),
        Case::new("an address of no Service is dropped", world()).same(
            IN,
            &syn(client, cluster),
            Drop,
        ),
    ]
}
