//! Direct server return: the node that chooses, and the node that serves.

use skep_abi::{service_flags, via};

use super::{B, FAR, IN, OUT, XDP};
use crate::{
    case::{Case, Fate},
    frame::{Frame, RECEIVER, flags},
    world::{Front, InConfig, NEIGHBOUR, NODE_PORT, World},
};

use Fate::{Drop, Pass, Redirect};

/// Port of all backends.
const PORT: u16 = 8080;

fn port<F: InConfig>() -> Front<F> {
    let flags = service_flags::NODE_PORT | service_flags::DSR;
    Front { flags, ..Front::tcp(F::node(), NODE_PORT) }
}

fn external<F: InConfig>() -> Front<F> {
    Front { flags: service_flags::DSR, ..Front::tcp(F::external(), 443) }
}

/// All cases of a family.
pub(super) fn all<F: InConfig>() -> Vec<Case<F>> {
    let mut cases = choosing();
    cases.extend(serving());
    cases.extend(sizes());
    cases
}

/// The node whose address the client uses.
fn choosing<F: InConfig>() -> Vec<Case<F>> {
    let world = || World::<F>::new();
    let (client, front) = ((F::client(), 5000), (F::external(), 443));
    let (b, a) = ((F::pod_b(), PORT), (F::pod_a(), 4000));
    let service = |to, way| world().service(external(), &[(to, PORT, way)]);
    let (near, far) = (F::near_pod(), F::far_pod());
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let ack = |from, to| Frame::<F>::tcp(from, to, flags::ACK);
    let to_near = |frame: Frame<F>| frame.wrapped(F::node(), F::near_node());
    let to_far = |frame: Frame<F>| frame.wrapped(F::node(), F::far_node());
    let sent = |frame: Frame<F>| frame.link(RECEIVER, NEIGHBOUR);
    let datagram = Frame::udp(client, front);
    let udp = Front { flags: service_flags::DSR, ..Front::udp(front.0, front.1) };
    vec![
        Case::new("DSR: a near backend gets the packet as it is", service(near, via::PEER))
            .send(IN, &syn(client, front), Redirect, &to_near(syn(client, front)))
            .send(IN, &ack(client, front), Redirect, &to_near(ack(client, front)))
            .send(IN, &ack(client, front), Redirect, &to_near(ack(client, front))),
        Case::new("DSR: a backend that is found by its address", service(near, via::LOOKUP))
            .send(IN, &syn(client, front), Redirect, &to_near(syn(client, front)))
            .send(IN, &ack(client, front), Redirect, &to_near(ack(client, front))),
        Case::new("DSR: a backend behind the overlay is sent to by the uplink", {
            service(far, via::PEER)
        })
        .send(IN, &syn(client, front), Redirect, &to_far(syn(client, front)))
        .send(IN, &ack(client, front), Redirect, &to_far(ack(client, front))),
        Case::new("DSR: datagrams", world().service(udp, &[(near, PORT, via::PEER)]))
            .send(IN, &datagram, Redirect, &to_near(datagram.clone()))
            .send(IN, &datagram, Redirect, &to_near(datagram.clone())),
        Case::new("DSR: a node port", world().service(port(), &[(near, PORT, via::PEER)])).send(
            IN,
            &syn(client, (F::node(), NODE_PORT)),
            Redirect,
            &to_near(syn(client, (F::node(), NODE_PORT))),
        ),
        Case::new("DSR: a backend here is as ever", service(b.0, via::POD))
            .send(IN, &syn(client, front), Redirect, &syn(client, b).hop())
            .send(
                B,
                &Frame::tcp(b, client, flags::SYN_ACK),
                Redirect,
                &Frame::tcp(front, client, flags::SYN_ACK).hop(),
            ),
        Case::new("DSR: pods here are translated", service(near, via::PEER)).send(
            super::A,
            &syn(a, front),
            Redirect,
            &syn(a, (near, PORT)).hop(),
        ),
        Case::new("XDP: DSR: straight out again in an outer header", service(near, via::PEER))
            .send(XDP, &syn(client, front), Redirect, &sent(to_near(syn(client, front))))
            .send(XDP, &ack(client, front), Redirect, &sent(to_near(ack(client, front))))
            .send(XDP, &ack(client, front), Redirect, &sent(to_near(ack(client, front)))),
        Case::new("XDP: DSR: without a neighbour the stack sends it", service(far, via::PEER))
            .send(XDP, &syn(client, front), Pass, &to_far(syn(client, front)))
            .send(XDP, &ack(client, front), Pass, &to_far(ack(client, front))),
        Case::new("DSR: a packet of no connection goes where its first would have gone", {
            service(near, via::PEER)
        })
        .send(IN, &ack(client, front), Redirect, &to_near(ack(client, front))),
    ]
}

/// The node that the backend is on.
fn serving<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (client, front, b) = ((F::client(), 5000), (F::external(), 443), (F::pod_b(), PORT));
    let near_port = (F::near_node(), NODE_PORT);
    let here = || world().local(external(), Some(PORT));
    let nowhere = || world().local(Front { flags: service_flags::DROP, ..external() }, None);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let syn_ack = |from, to| Frame::<F>::tcp(from, to, flags::SYN_ACK);
    let ack = |from, to| Frame::<F>::tcp(from, to, flags::ACK);
    let from_near = |frame: Frame<F>| frame.wrapped(F::near_node(), F::node());
    let from_stranger = |frame: Frame<F>| frame.wrapped(F::at(99, 77), F::node());
    let inside = (F::near_pod(), 7000);
    vec![
        Case::new("DSR: the client's address stays, the answer goes straight back", here())
            .send(IN, &from_near(syn(client, front)), Redirect, &syn(client, b).hop())
            .send(B, &syn_ack(b, client), Redirect, &syn_ack(front, client).hop())
            .send(IN, &from_near(ack(client, front)), Redirect, &ack(client, b).hop())
            .send(B, &ack(b, client), Redirect, &ack(front, client).hop()),
        Case::new("DSR: another node's port is this node's", world().local(port(), Some(PORT)))
            .send(IN, &from_near(syn(client, near_port)), Redirect, &syn(client, b).hop())
            .send(B, &syn_ack(b, client), Redirect, &syn_ack(near_port, client).hop())
            .send(IN, &from_near(ack(client, near_port)), Redirect, &ack(client, b).hop()),
        Case::new("DSR: a client inside of the cluster is answered as routes say", here())
            .send(IN, &from_near(syn(inside, front)), Redirect, &syn(inside, b).hop())
            .send(B, &syn_ack(b, inside), Redirect, &syn_ack(front, inside).hop()),
        Case::new("XDP: DSR: unwrapped and translated, then into the pod", here())
            .send(XDP, &from_near(syn(client, front)), Pass, &syn(client, b))
            .send(IN, &syn(client, b), Redirect, &syn(client, b).hop())
            .send(B, &syn_ack(b, client), Redirect, &syn_ack(front, client).hop())
            .send(XDP, &from_near(ack(client, front)), Pass, &ack(client, b)),
        Case::new("DSR: a stranger's tunnel is the stack's", here())
            .same(IN, &from_stranger(syn(client, front)), Pass)
            .same(XDP, &from_stranger(syn(client, front)), Pass),
        Case::new("DSR: what is in a tunnel but for no front end", here())
            .send(IN, &from_near(syn(client, (b.0, 22))), Drop, &syn(client, (b.0, 22)))
            .send(IN, &from_near(syn(client, (front.0, 22))), Drop, &syn(client, (front.0, 22))),
        Case::new("DSR: no backend here is no answer", nowhere()).send(
            IN,
            &from_near(syn(client, front)),
            Drop,
            &syn(client, front),
        ),
        Case::new("DSR: a tunnel in the overlay is none", here()).same(
            FAR,
            &from_near(syn(client, front)),
            Pass,
        ),
        Case::new("DSR: a node that chose another node before is now the backend's", {
            here().service(external(), &[(F::near_pod(), PORT, via::PEER)])
        })
        .send(
            IN,
            &syn(client, front),
            Redirect,
            &syn(client, front).wrapped(F::node(), F::near_node()),
        )
        .send(
            IN,
            &ack(client, front),
            Redirect,
            &ack(client, front).wrapped(F::node(), F::near_node()),
        )
        .send(IN, &from_near(ack(client, front)), Redirect, &ack(client, b).hop()),
        Case::new("DSR: the node's own tunnels go out", world()).same(
            OUT,
            &syn(client, front).wrapped(F::node(), F::near_node()),
            Pass,
        ),
    ]
}

/// Packets that do not fit with an outer header.
fn sizes<F: InConfig>() -> Vec<Case<F>> {
    let (client, front) = ((F::client(), 5000), (F::external(), 443));
    let header = if F::VERSION == 4 { 20 } else { 40 };
    let syn = Frame::<F>::tcp(client, front, flags::SYN);
    let world = |mtu: u16| {
        let mut world = World::<F>::new();
        world.config.uplink_mtu = u32::from(mtu);
        world.service(external(), &[(F::near_pod(), PORT, via::PEER)])
    };
    // Two network headers and a TCP header.
    let fits = header + header + 20;
    let told = syn.too_big(fits - 1 - header);
    vec![
        Case::new("DSR: a packet that just fits", world(fits)).send(
            IN,
            &syn,
            Redirect,
            &syn.wrapped(F::node(), F::near_node()),
        ),
        Case::new("DSR: the sender of a packet too big is told", world(fits - 1))
            .send(IN, &syn, Redirect, &told)
            .send(XDP, &syn, Redirect, &told),
    ]
}
