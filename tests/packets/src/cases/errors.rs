//! ICMP errors about translated packets, and packets whose time ends at the node.

use skep_abi::{config_flags, service_flags, via};

use super::{A, B, FAR, IN, OUT, TO_A, XDP};
use crate::{
    case::{Case, Fate},
    frame::{Frame, flags},
    world::{Front, InConfig, NODE_PORT, SNAT_PORT, World},
};

use Fate::{Drop, Pass, Redirect};

/// Port of all backends.
const PORT: u16 = 8080;

/// All cases of a family.
pub(super) fn all<F: InConfig>() -> Vec<Case<F>> {
    let mut cases = from_inside();
    cases.extend(from_outside());
    cases.extend(from_the_stack());
    cases.extend(of_no_flow());
    cases.extend(direct_return());
    cases.extend(expired());
    cases
}

fn syn<F: InConfig>(from: (F::Addr, u16), to: (F::Addr, u16)) -> Frame<F> {
    Frame::tcp(from, to, flags::SYN)
}

fn reply<F: InConfig>(from: (F::Addr, u16), to: (F::Addr, u16)) -> Frame<F> {
    Frame::tcp(from, to, flags::SYN_ACK)
}

fn node_port<F: InConfig>() -> Front<F> {
    Front { flags: service_flags::NODE_PORT, ..Front::tcp(F::node(), NODE_PORT) }
}

/// An error on its way to the sender of `sent`, which thinks that it was stopped behind the far end.
fn from_far_end<F: InConfig>(sent: &Frame<F>) -> Frame<F> {
    sent.stopped_by(sent.dst.0).hop()
}

/// About packets of pods.
fn from_inside<F: InConfig>() -> Vec<Case<F>> {
    let (a, b, near) = ((F::pod_a(), 4000), (F::pod_b(), PORT), (F::near_pod(), PORT));
    let (vip, router) = ((F::service(1), 80), F::near_node());
    let world =
        |to: F::Addr, way| World::<F>::new().service(Front::tcp(vip.0, vip.1), &[(to, PORT, way)]);
    let udp = World::<F>::new().service(Front::udp(vip.0, vip.1), &[(b.0, PORT, via::POD)]);
    let echo = Frame::<F>::echo_request((F::pod_a(), 7), F::client());
    let sent = Frame::<F>::echo_request((F::node(), SNAT_PORT), F::client());
    let datagram = |to| Frame::<F>::udp_unchecked(a, to);
    let web = (F::client(), 443);
    let masqueraded = (F::node(), SNAT_PORT);
    vec![
        Case::new("an error of a backend here comes from its Service", world(b.0, via::POD))
            .send(A, &syn(a, vip), Redirect, &syn(a, b).hop())
            .send(B, &syn(a, b).stopped_by(b.0), Redirect, &from_far_end(&syn(a, vip))),
        Case::new("an error about a datagram without a checksum", udp)
            .send(A, &datagram(vip), Redirect, &datagram(b).hop())
            .send(B, &datagram(b).stopped_by(b.0), Redirect, &from_far_end(&datagram(vip))),
        Case::new("an error of a backend on a near node", world(near.0, via::PEER))
            .send(A, &syn(a, vip), Redirect, &syn(a, near).hop())
            .send(IN, &syn(a, near).stopped_by(near.0), Redirect, &from_far_end(&syn(a, vip))),
        Case::new("an error out of the overlay", world(F::far_pod(), via::PEER))
            .send(A, &syn(a, vip), Redirect, &syn(a, (F::far_pod(), PORT)).hop())
            .send(
                FAR,
                &syn(a, (F::far_pod(), PORT)).stopped_by(F::far_node()),
                Redirect,
                &from_far_end(&syn(a, vip)),
            ),
        Case::new("an error of a router on the way to a backend", world(near.0, via::PEER))
            .send(A, &syn(a, vip), Redirect, &syn(a, near).hop())
            .send(IN, &syn(a, near).stopped_by(router), Redirect, &from_far_end(&syn(a, vip))),
        Case::new("an error about a backend's answer goes to the backend", world(b.0, via::POD))
            .send(A, &syn(a, vip), Redirect, &syn(a, b).hop())
            .send(B, &reply(b, a), Redirect, &reply(vip, a).hop())
            .send(A, &reply(vip, a).stopped_by(a.0), Redirect, &reply(b, a).stopped_by(a.0).hop()),
        Case::new("an error about a masqueraded packet keeps its router", World::new())
            .send(A, &syn(a, web), Redirect, &syn(masqueraded, web).hop())
            .send(
                IN,
                &syn(masqueraded, web).stopped_by(router),
                Redirect,
                &syn(a, web).stopped_by(router).hop(),
            ),
        Case::new("an error about a masqueraded echo request", World::new())
            .send(A, &echo, Redirect, &sent.clone().hop())
            .send(IN, &sent.stopped_by(router), Redirect, &echo.stopped_by(router).hop()),
    ]
}

/// About packets between the world and a node port.
fn from_outside<F: InConfig>() -> Vec<Case<F>> {
    let (client, front) = ((F::client(), 5000), (F::node(), NODE_PORT));
    let (b, near) = ((F::pod_b(), PORT), (F::near_pod(), PORT));
    let (snat, router) = ((F::node(), SNAT_PORT), F::at(99, 1));
    let world = |to: F::Addr, way| World::<F>::new().service(node_port(), &[(to, PORT, way)]);
    vec![
        Case::new("an error of a translated client's backend", world(near.0, via::PEER))
            .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
            .send(
                IN,
                &syn(snat, near).stopped_by(near.0),
                Redirect,
                &from_far_end(&syn(client, front)),
            ),
        Case::new("an error about an answer to a translated client", world(near.0, via::PEER))
            .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
            .send(IN, &reply(near, snat), Redirect, &reply(front, client).hop())
            .send(
                IN,
                &reply(front, client).stopped_by(router),
                Redirect,
                &reply(near, snat).stopped_by(snat.0).hop(),
            ),
        Case::new("an error about an answer to a client that kept its address", {
            world(b.0, via::POD)
        })
        .send(IN, &syn(client, front), Redirect, &syn(client, b).hop())
        .send(B, &reply(b, client), Redirect, &reply(front, client).hop())
        .send(
            IN,
            &reply(front, client).stopped_by(router),
            Redirect,
            &reply(b, client).stopped_by(router).hop(),
        ),
        Case::new("an error is not an answer: the connection stays an embryo", {
            world(near.0, via::PEER)
        })
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn(snat, near).stopped_by(near.0), Redirect, &from_far_end(&syn(client, front)))
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop()),
        Case::new("XDP: errors are for the hook behind it", world(near.0, via::PEER))
            .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
            .same(XDP, &syn(snat, near).stopped_by(near.0), Pass),
        Case::new("an error whose time is over", world(near.0, via::PEER))
            .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
            .same(IN, &syn(snat, near).stopped_by(near.0).ttl(1), Drop),
        Case::new("an error with options", world(near.0, via::PEER))
            .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
            .send(
                IN,
                &syn(snat, near).stopped_by(near.0).with_options(),
                Redirect,
                &from_far_end(&syn(client, front)).with_options(),
            ),
    ]
}

/// By the node's own stack, about connections of its host network.
fn from_the_stack<F: InConfig>() -> Vec<Case<F>> {
    let (client, a) = ((F::client(), 5000), (F::pod_a(), 4000));
    let (front, host) = ((F::node(), NODE_PORT), (F::node(), 6443));
    let world = || {
        let world = World::<F>::new().config_flag(config_flags::HOST_BACKENDS);
        world.service(node_port(), &[(host.0, host.1, via::HOST)])
    };
    vec![
        Case::new("the stack's error about a client's packet", world())
            .send(IN, &syn(client, front), Pass, &syn(client, host))
            .send(
                OUT,
                &syn(client, host).stopped_by(host.0),
                Pass,
                &syn(client, front).stopped_by(front.0),
            ),
        Case::new("the stack's error about a pod's packet", world())
            .send(A, &syn(a, front), Pass, &syn(a, host))
            .send(TO_A, &syn(a, host).stopped_by(host.0), Pass, &syn(a, front).stopped_by(front.0)),
    ]
}

/// About packets that nothing is known of.
fn of_no_flow<F: InConfig>() -> Vec<Case<F>> {
    let (a, b, client) = ((F::pod_a(), 4000), (F::pod_b(), 80), (F::client(), 5000));
    let (near, host) = ((F::near_pod(), 80), (F::node(), 40_000));
    let vip = (F::service(1), 80);
    let world = || World::<F>::new();
    // With flows of other connections, packets of pods are looked up.
    let busy = || {
        Case::new("errors about other packets than those translated", {
            world().service(Front::tcp(vip.0, vip.1), &[(b.0, PORT, via::POD)])
        })
        .send(A, &syn(a, vip), Redirect, &syn(a, (b.0, PORT)).hop())
    };
    let about_pod = syn(a, near).stopped_by(F::near_node());
    let from_pod = syn(near, a).stopped_by(a.0);
    let abroad = syn(client, a).stopped_by(a.0);
    vec![
        Case::new("an error to the host is the host's", world()).same(
            IN,
            &syn(host, client).stopped_by(F::at(99, 1)),
            Pass,
        ),
        Case::new("an error about an untranslated packet of a pod", world()).send(
            IN,
            &about_pod,
            Redirect,
            &about_pod.clone().hop(),
        ),
        busy()
            .send(IN, &about_pod, Redirect, &about_pod.clone().hop())
            .send(A, &from_pod, Redirect, &from_pod.clone().hop())
            .same(A, &abroad, Pass),
        Case::new("an error to an address that nobody knows", world()).same(
            IN,
            &syn((F::external(), 443), client).stopped_by(F::at(99, 1)),
            Pass,
        ),
    ]
}

/// With direct server return: about what a backend answered its client straight away.
fn direct_return<F: InConfig>() -> Vec<Case<F>> {
    let (client, front) = ((F::client(), 5000), (F::external(), 443));
    let (b, near) = ((F::pod_b(), PORT), (F::near_pod(), PORT));
    let dsr = Front { flags: service_flags::DSR, ..Front::tcp(front.0, front.1) };
    let router = F::at(99, 1);
    let world = || World::<F>::new();
    let error = reply(front, client).stopped_by(router);
    let to_near = |frame: &Frame<F>| frame.wrapped(F::node(), F::near_node());
    let from_near = |frame: &Frame<F>| frame.wrapped(F::near_node(), F::node());
    let choosing = || world().service(dsr, &[(near.0, near.1, via::PEER)]);
    let serving = || world().local(dsr, Some(PORT));
    vec![
        Case::new("DSR: an error goes to the backend's node as it is", choosing())
            .send(IN, &syn(client, front), Redirect, &to_near(&syn(client, front)))
            .send(IN, &error, Redirect, &to_near(&error)),
        Case::new("DSR: an error that came to a node without the flow", choosing()).send(
            IN,
            &error,
            Redirect,
            &to_near(&error),
        ),
        Case::new("DSR: the backend's node gives an error to the backend", serving())
            .send(IN, &from_near(&syn(client, front)), Redirect, &syn(client, b).hop())
            .send(B, &reply(b, client), Redirect, &reply(front, client).hop())
            .send(IN, &from_near(&error), Redirect, &reply(b, client).stopped_by(router).hop())
            .same(XDP, &from_near(&error), Pass),
        Case::new("DSR: an error about a connection that is not here", serving()).send(
            IN,
            &from_near(&error),
            Drop,
            &error,
        ),
    ]
}

/// Packets whose time ends at the node.
fn expired<F: InConfig>() -> Vec<Case<F>> {
    let (client, a, front) = ((F::client(), 5000), (F::pod_a(), 4000), (F::node(), NODE_PORT));
    let (b, near, host) = ((F::pod_b(), PORT), (F::near_pod(), PORT), (F::node(), 6443));
    let (snat, vip) = ((F::node(), SNAT_PORT), (F::service(1), 80));
    let last = |frame: Frame<F>| frame.ttl(1);
    let world = |to: (F::Addr, u16), way| {
        let world = World::<F>::new().config_flag(config_flags::HOST_BACKENDS);
        world.service(node_port(), &[(to.0, to.1, way)])
    };
    let first = last(syn(client, front));
    vec![
        Case::new("a node port's client is told that its packet's time is over", {
            world(b, via::POD)
        })
        .send(IN, &first, Redirect, &first.expired())
        .send(XDP, &first, Redirect, &first.expired()),
        Case::new("the same in the middle of a connection", world(near, via::PEER))
            .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
            .send(IN, &first, Redirect, &first.expired()),
        Case::new("the node itself is the last hop", world(host, via::HOST)).send(
            IN,
            &first,
            Pass,
            &last(syn(client, host)),
        ),
        Case::new("a Service's address is answered for by the stack, as a router", {
            World::new().service(Front::tcp(vip.0, vip.1), &[(b.0, b.1, via::POD)])
        })
        .same(A, &last(syn(a, vip)), Pass),
    ]
}
