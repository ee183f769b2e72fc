//! SCTP: translated as TCP is, its checksum mended by difference.

use skep_abi::via;

use super::{A, B, FAR, IN, OUT, XDP};
use crate::{
    case::{Case, Fate},
    frame::{Frame, RECEIVER, chunk},
    world::{Front, InConfig, NEIGHBOUR, NODE_PORT, SNAT_PORT, World},
};

use Fate::{Pass, Redirect};

pub(super) fn cases<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (a, b, far) = ((F::pod_a(), 4000), (F::pod_b(), 8080), (F::far_pod(), 8080));
    let (near, client, web) = ((F::near_pod(), 8080), (F::client(), 5000), (F::client(), 443));
    let (vip, front) = ((F::service(1), 80), (F::node(), NODE_PORT));
    let (snat, host) = ((F::node(), SNAT_PORT), (F::node(), 4000));
    let service = |port, to: &[_]| world().service(Front::sctp(vip.0, port), to);
    let port = |to: &[_]| world().service(Front::sctp(front.0, front.1), to);
    let init = |from, to| Frame::<F>::sctp(from, to, chunk::INIT);
    let init_ack = |from, to| Frame::<F>::sctp(from, to, chunk::INIT_ACK);
    let data = |from, to| Frame::<F>::sctp(from, to, chunk::DATA);
    let sent = |frame: Frame<F>| frame.hop().link(RECEIVER, NEIGHBOUR);
    vec![
        Case::new("SCTP: pod to a Service, both ways", service(80, &[(b.0, b.1, via::POD)]))
            .send(A, &init(a, vip), Redirect, &init(a, b).hop())
            .send(B, &init_ack(b, a), Redirect, &init_ack(vip, a).hop())
            .send(A, &data(a, vip), Redirect, &data(a, b).hop())
            .send(B, &data(b, a), Redirect, &data(vip, a).hop()),
        Case::new(
            "SCTP: a Service whose port is its pods' too",
            service(8080, &[(b.0, b.1, via::POD)]),
        )
        .send(A, &init(a, (vip.0, 8080)), Redirect, &init(a, b).hop())
        .send(B, &init_ack(b, a), Redirect, &init_ack((vip.0, 8080), a).hop()),
        Case::new(
            "SCTP: node port, backend behind the overlay",
            port(&[(far.0, far.1, via::PEER)]),
        )
        .send(IN, &init(client, front), Redirect, &init(snat, far).hop())
        .send(FAR, &init_ack(far, snat), Redirect, &init_ack(front, client).hop())
        .send(IN, &data(client, front), Redirect, &data(snat, far).hop()),
        Case::new("SCTP: XDP: node port, near backend", port(&[(near.0, near.1, via::PEER)]))
            .send(XDP, &init(client, front), Redirect, &sent(init(snat, near)))
            .send(XDP, &init_ack(near, snat), Pass, &init_ack(front, client).hop())
            .send(XDP, &data(client, front), Redirect, &sent(data(snat, near))),
        Case::new("SCTP: a Service without backends is unreachable", service(80, &[])).send(
            A,
            &init(a, vip),
            Redirect,
            &init(a, vip).unreachable(),
        ),
        Case::new("SCTP: pod to the world and back", world())
            .send(A, &init(a, web), Redirect, &init(snat, web).hop())
            .send(IN, &init_ack(web, snat), Redirect, &init_ack(web, a).hop())
            .same(A, &data((a.0, 4001), web), Pass),
        Case::new("SCTP: node to a Service, pod here", service(80, &[(b.0, b.1, via::POD)]))
            .send(OUT, &init(host, vip), Redirect, &init(host, b).hop())
            .send(B, &init_ack(b, host), Pass, &init_ack(vip, host))
            .send(OUT, &data(host, vip), Redirect, &data(host, b).hop()),
        Case::new(
            "SCTP: node to a Service, backend behind the overlay",
            service(80, &[(far.0, far.1, via::PEER)]),
        )
        .send(OUT, &init(host, vip), Redirect, &init(snat, far).hop())
        .send(FAR, &init_ack(far, snat), Pass, &init_ack(vip, host))
        .send(OUT, &data(host, vip), Redirect, &data(snat, far).hop()),
        Case::new("SCTP: node to a Service without backends", service(80, &[])).send(
            OUT,
            &init(host, vip),
            Redirect,
            &init(host, vip).unreachable(),
        ),
        Case::new("SCTP: node to the world", world()).same(OUT, &init(host, web), Pass),
    ]
}
