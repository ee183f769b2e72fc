//! Packets in pieces, and network headers that are longer than usual.

use skep_abi::{service_flags, via};

use super::{A, B, IN, XDP};
use crate::{
    case::{Case, Fate},
    frame::{
        Frame, Payload,
        Piece::{First, Last},
        RECEIVER, chunk, flags,
    },
    world::{Front, InConfig, NEIGHBOUR, NODE_PORT, SNAT_PORT, World},
};

use Fate::{Drop, Pass, Redirect};

/// Port of all backends.
const PORT: u16 = 8080;
/// What does not fit into a first piece.
const DATA: &[u8] = b"more than sixteen bytes of data";

/// All cases of a family.
pub(super) fn all<F: InConfig>() -> Vec<Case<F>> {
    let mut cases = pieces();
    cases.extend(strays());
    cases.extend(options());
    cases
}

fn datagram<F: InConfig>(from: (F::Addr, u16), to: (F::Addr, u16)) -> Frame<F> {
    Frame { payload: Payload::Udp { data: DATA, checksum: true }, ..Frame::udp(from, to) }
}

/// Both pieces of a packet are translated alike.
fn pieces<F: InConfig>() -> Vec<Case<F>> {
    let (a, client) = ((F::pod_a(), 4000), (F::client(), 5000));
    let (b, near) = ((F::pod_b(), PORT), (F::near_pod(), PORT));
    let (vip, snat, web) = ((F::service(1), 80), (F::node(), SNAT_PORT), (F::client(), 443));
    let port = (F::node(), NODE_PORT);
    let front = Front { flags: service_flags::NODE_PORT, ..Front::<F>::udp(port.0, port.1) };
    let inside = || World::<F>::new().service(Front::udp(vip.0, vip.1), &[(b.0, PORT, via::POD)]);
    let outside = || World::<F>::new().service(front, &[(near.0, near.1, via::PEER)]);
    let both = |case: Case<F>, at, frame: Frame<F>, out: Frame<F>| {
        case.send(at, &frame.piece(First), Redirect, &out.piece(First).hop()).send(
            at,
            &frame.piece(Last),
            Redirect,
            &out.piece(Last).hop(),
        )
    };
    let echo = |src| {
        let payload = Payload::Echo { reply: false, data: DATA };
        Frame::<F> { payload, ..Frame::echo_request(src, F::client()) }
    };
    vec![
        both(
            both(
                Case::new("pieces to a Service and back", inside()),
                A,
                datagram(a, vip),
                datagram(a, b),
            ),
            B,
            datagram(b, a),
            datagram(vip, a),
        ),
        both(
            both(
                Case::new("pieces to a node port and back", outside()),
                IN,
                datagram(client, port),
                datagram(snat, near),
            ),
            IN,
            datagram(near, snat),
            datagram(port, client),
        ),
        both(
            Case::new("masqueraded pieces", World::new()),
            A,
            datagram(a, web),
            datagram(snat, web),
        ),
        both(
            Case::new("masqueraded pieces of an echo request", World::new()),
            A,
            echo(a),
            echo(snat),
        ),
        both(
            Case::new("pieces with options", inside()),
            A,
            datagram(a, vip).with_options(),
            datagram(a, b).with_options(),
        ),
        Case::new("XDP: pieces to a node port", outside())
            .send(
                XDP,
                &datagram(client, port).piece(First),
                Redirect,
                &near_by(datagram(snat, near).piece(First)),
            )
            .send(
                XDP,
                &datagram(client, port).piece(Last),
                Redirect,
                &near_by(datagram(snat, near).piece(Last)),
            ),
    ]
}

/// A frame as XDP sends it on to the near node.
fn near_by<F: InConfig>(frame: Frame<F>) -> Frame<F> {
    frame.hop().link(RECEIVER, NEIGHBOUR)
}

/// Pieces whose first was not seen, and those of nothing that is translated.
fn strays<F: InConfig>() -> Vec<Case<F>> {
    let (a, b, client) = ((F::pod_a(), 4000), (F::pod_b(), PORT), (F::client(), 5000));
    let (vip, web, external) = ((F::service(1), 80), (F::client(), 443), (F::external(), 443));
    let to = [(b.0, PORT, via::POD)];
    let world = || World::<F>::new().service(Front::udp(vip.0, vip.1), &to);
    let last = |from, to| datagram::<F>(from, to).piece(Last);
    let sctp = Frame::<F>::sctp(a, vip, chunk::INIT);
    vec![
        Case::new("a stray piece to a Service", world()).same(A, &last(a, vip), Drop),
        Case::new("a stray piece to a Service from outside", world()).same(
            IN,
            &last(client, vip),
            Drop,
        ),
        Case::new("a stray piece to a Service's external address", {
            World::new().service(Front::udp(external.0, external.1), &to).rejecting(external.0)
        })
        .same(IN, &last(client, external), Drop),
        Case::new("a stray piece to the world", world()).same(A, &last(a, web), Drop),
        Case::new("a stray piece to the host is the host's", world()).same(
            IN,
            &last(client, (F::node(), 53)),
            Pass,
        ),
        Case::new("pieces between pods", world())
            .send(A, &last(a, b), Redirect, &last(a, b).hop())
            .send(A, &datagram(a, b).piece(First), Redirect, &datagram(a, b).piece(First).hop()),
        Case::new("pieces between pods, one of which talks to a Service, too", world())
            .send(A, &datagram(a, vip), Redirect, &datagram(a, b).hop())
            .send(
                A,
                &datagram((a.0, 4001), b).piece(First),
                Redirect,
                &datagram((a.0, 4001), b).piece(First).hop(),
            )
            .send(A, &last((a.0, 4001), b), Redirect, &last((a.0, 4001), b).hop()),
        Case::new("SCTP in pieces cannot be translated", {
            World::new().service(Front::sctp(vip.0, vip.1), &to)
        })
        .same(A, &sctp.piece(First), Drop),
    ]
}

/// IPv4 options and IPv6 extension headers.
fn options<F: InConfig>() -> Vec<Case<F>> {
    let (a, b, client) = ((F::pod_a(), 4000), (F::pod_b(), PORT), (F::client(), 5000));
    let (near, snat) = ((F::near_pod(), PORT), (F::node(), SNAT_PORT));
    let (vip, port) = ((F::service(1), 80), (F::node(), NODE_PORT));
    let front = Front { flags: service_flags::NODE_PORT, ..Front::<F>::tcp(port.0, port.1) };
    let frame = |from, to, bits| Frame::<F>::tcp(from, to, bits).with_options();
    let (syn, syn_ack) = (flags::SYN, flags::SYN_ACK);
    let world = || World::<F>::new().service(Front::tcp(vip.0, vip.1), &[(b.0, PORT, via::POD)]);
    let refused = frame(a, vip, syn);
    vec![
        Case::new("options on the way to a Service and back", world())
            .send(A, &frame(a, vip, syn), Redirect, &frame(a, b, syn).hop())
            .send(B, &frame(b, a, syn_ack), Redirect, &frame(vip, a, syn_ack).hop()),
        Case::new("options on the way to a node port and back", {
            World::new().service(front, &[(near.0, near.1, via::PEER)])
        })
        .send(IN, &frame(client, port, syn), Redirect, &frame(snat, near, syn).hop())
        .send(
            IN,
            &frame(near, snat, syn_ack),
            Redirect,
            &frame(port, client, syn_ack).hop(),
        ),
        Case::new("a segment with options is reset", {
            World::new().service(Front::tcp(vip.0, vip.1), &[])
        })
        .send(A, &refused, Redirect, &refused.reset()),
        Case::new("a datagram with options is dropped, not answered", {
            World::new().service(Front::udp(vip.0, vip.1), &[])
        })
        .same(A, &Frame::udp(a, vip).with_options(), Drop),
        Case::new("pods' packets with options are routed", world()).send(
            A,
            &frame(a, b, syn),
            Redirect,
            &frame(a, b, syn).hop(),
        ),
    ]
}
