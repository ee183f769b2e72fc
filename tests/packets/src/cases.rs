//! The table: every rule of the datapath as a packet that it applies to.

mod affinity;
mod direct_return;
mod errors;
mod pieces;
mod sctp;

use skep_abi::{backend_state, config_flags, service_flags, via};
use skep_bpf::Program;

use crate::{
    case::{Case, Fate},
    frame::{Frame, RECEIVER, flags},
    world::{
        Front, InConfig, LOOPBACK, NEIGHBOUR, NODE_PORT, OVERLAY, POD_A, POD_B, SNAT_PORT, UPLINK,
        World,
    },
};

use Fate::{Drop, Pass, Redirect};

mod foreign;

use foreign::foreign;

/// From pod A.
const A: (Program, u32) = (Program::PodIngress, POD_A);
/// From pod B.
const B: (Program, u32) = (Program::PodIngress, POD_B);
/// From the stack to pod A.
const TO_A: (Program, u32) = (Program::PodEgress, POD_A);
/// In by the node's device.
const IN: (Program, u32) = (Program::NodeIngress, UPLINK);
/// Out by the node's device, from the stack.
const OUT: (Program, u32) = (Program::NodeEgress, UPLINK);
/// In by the overlay.
const FAR: (Program, u32) = (Program::OverlayIngress, OVERLAY);

/// In by the node's device, in its driver.
const XDP: (Program, u32) = (Program::Xdp, LOOPBACK);

/// All cases of a family.
pub fn all<F: InConfig>() -> Vec<Case<F>> {
    let mut cases = routing();
    cases.extend(services());
    cases.extend(node_ports());
    cases.extend(masquerade());
    cases.extend(rejections());
    cases.extend(source_ranges());
    cases.extend(sctp::cases());
    cases.extend(xdp());
    cases.extend(foreign());
    cases.extend(direct_return::all());
    cases.extend(errors::all());
    cases.extend(pieces::all());
    cases.extend(affinity::cases());
    cases
}

/// Packets without translation.
fn routing<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (a, b) = ((F::pod_a(), 4000), (F::pod_b(), 80));
    let to_b = Frame::tcp(a, b, flags::SYN);
    let to_near = Frame::udp(a, (F::near_pod(), 53));
    let to_far = Frame::udp(a, (F::far_pod(), 53));
    let to_node = Frame::tcp(a, (F::node(), 10_250), flags::SYN);
    let to_near_node = Frame::tcp(a, (F::near_node(), 22), flags::SYN);
    let to_nobody = Frame::tcp(a, (F::at(20, 77), 80), flags::SYN);
    let from_near = Frame::udp((F::near_pod(), 53), a);
    let host = Frame::tcp((F::client(), 999), (F::node(), 22), flags::SYN);
    let host_reply = Frame::tcp((F::node(), 40_000), (F::client(), 443), flags::ACK);
    let spoofed = Frame::tcp((F::pod_b(), 4000), b, flags::SYN);
    let forged = Frame::tcp((F::client(), 4000), b, flags::SYN);
    let other = Frame::other(F::pod_a(), F::pod_b(), 47);
    vec![
        Case::new("pod to pod on the node", world()).send(A, &to_b, Redirect, &to_b.clone().hop()),
        Case::new("pod to pod, a protocol without ports", world()).send(
            A,
            &other,
            Redirect,
            &other.clone().hop(),
        ),
        Case::new("pod to pod on a near node", world()).send(
            A,
            &to_near,
            Redirect,
            &to_near.clone().hop(),
        ),
        Case::new("pod to pod behind the overlay", world()).send(
            A,
            &to_far,
            Redirect,
            &to_far.clone().hop(),
        ),
        Case::new("pod to its node", world()).same(A, &to_node, Pass),
        Case::new("pod to another node", world()).send(
            A,
            &to_near_node,
            Redirect,
            &to_near_node.clone().hop(),
        ),
        Case::new("pod to an address of its range that no pod has", world())
            .same(A, &to_nobody, Pass),
        Case::new("a pod's last hop is the stack's to answer", world()).same(
            A,
            &to_b.clone().ttl(1),
            Pass,
        ),
        Case::new("a near pod to a pod here", world()).send(
            IN,
            &from_near,
            Redirect,
            &from_near.clone().hop(),
        ),
        Case::new("a far pod to a pod here", world()).send(
            FAR,
            &from_near,
            Redirect,
            &from_near.clone().hop(),
        ),
        Case::new("the host's own traffic in", world()).same(IN, &host, Pass),
        Case::new("the host's own traffic out", world()).same(OUT, &host_reply, Pass),
        Case::new("a pod that uses another pod's address", world()).same(A, &spoofed, Drop),
        Case::new("a pod that uses a foreign address", world()).same(A, &forged, Drop),
        Case::new("from the stack to a pod", world()).same(
            TO_A,
            &Frame::tcp((F::node(), 5000), a, flags::SYN),
            Pass,
        ),
    ]
}

/// Services as pods see them.
fn services<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (a, b, near) = ((F::pod_a(), 4000), (F::pod_b(), 8080), (F::near_pod(), 8080));
    let vip = (F::service(1), 80);
    let tcp = Front::<F>::tcp(vip.0, vip.1);
    let udp = Front::<F>::udp(vip.0, vip.1);
    let node_snat = (F::node(), SNAT_PORT);
    let host_backend = (F::node(), 6443);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let syn_ack = |from, to| Frame::<F>::tcp(from, to, flags::SYN_ACK);
    let ack = |from, to| Frame::<F>::tcp(from, to, flags::ACK);
    let rst = |from, to| Frame::<F>::tcp(from, to, flags::RST);
    vec![
        Case::new(
            "pod to a Service, backend here, TCP, both ways",
            world().service(tcp, &[(b.0, b.1, via::POD)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, b).hop())
        .send(B, &syn_ack(b, a), Redirect, &syn_ack(vip, a).hop())
        .send(A, &ack(a, vip), Redirect, &ack(a, b).hop())
        .send(B, &ack(b, a), Redirect, &ack(vip, a).hop()),
        Case::new(
            "a port that was used for a Service is used again for its backend",
            world().service(tcp, &[(b.0, b.1, via::POD)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, b).hop())
        .send(B, &syn_ack(b, a), Redirect, &syn_ack(vip, a).hop())
        .send(A, &ack(a, vip), Redirect, &ack(a, b).hop())
        .send(A, &rst(a, vip), Redirect, &rst(a, b).hop())
        .send(A, &syn(a, b), Redirect, &syn(a, b).hop())
        .send(B, &syn_ack(b, a), Redirect, &syn_ack(b, a).hop())
        .send(A, &ack(a, b), Redirect, &ack(a, b).hop())
        .send(B, &ack(b, a), Redirect, &ack(b, a).hop()),
        Case::new(
            "a Service's answer that comes twice is still the Service's",
            world().service(tcp, &[(near.0, near.1, via::PEER)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, near).hop())
        .send(IN, &syn_ack(near, a), Redirect, &syn_ack(vip, a).hop())
        .send(A, &ack(a, vip), Redirect, &ack(a, near).hop())
        .send(IN, &syn_ack(near, a), Redirect, &syn_ack(vip, a).hop()),
        Case::new(
            "pod to a Service, backend found by its address",
            world().service(tcp, &[(b.0, b.1, via::LOOKUP)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, b).hop())
        .send(B, &syn_ack(b, a), Redirect, &syn_ack(vip, a).hop()),
        Case::new(
            "pod to a Service, backend on a near node, both ways",
            world().service(tcp, &[(near.0, near.1, via::PEER)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, near).hop())
        .send(IN, &syn_ack(near, a), Redirect, &syn_ack(vip, a).hop())
        .send(A, &ack(a, vip), Redirect, &ack(a, near).hop()),
        Case::new(
            "pod to a Service, UDP, both ways",
            world().service(udp, &[(b.0, b.1, via::POD)]),
        )
        .send(A, &Frame::udp(a, vip), Redirect, &Frame::udp(a, b).hop())
        .send(B, &Frame::udp(b, a), Redirect, &Frame::udp(vip, a).hop())
        .send(A, &Frame::udp(a, vip), Redirect, &Frame::udp(a, b).hop()),
        Case::new(
            "pod to itself through its Service: from the node's address",
            world().service(tcp, &[(a.0, 8080, via::POD)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(node_snat, (a.0, 8080)).hop())
        .send(A, &syn_ack((a.0, 8080), node_snat), Redirect, &syn_ack(vip, a).hop())
        .send(A, &ack(a, vip), Redirect, &ack(node_snat, (a.0, 8080)).hop())
        .send(A, &ack((a.0, 8080), node_snat), Redirect, &ack(vip, a).hop()),
        Case::new(
            "pod to a Service in the node's host network, both ways",
            world().service(tcp, &[(host_backend.0, host_backend.1, via::HOST)]),
        )
        .send(A, &syn(a, vip), Pass, &syn(a, host_backend))
        .send(TO_A, &syn_ack(host_backend, a), Pass, &syn_ack(vip, a)),
        Case::new(
            "a connection opened again after FINs finds a backend anew",
            world().service(tcp, &[(b.0, b.1, via::POD)]),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, b).hop())
        .send(
            A,
            &Frame::tcp(a, vip, flags::FIN_ACK),
            Redirect,
            &Frame::tcp(a, b, flags::FIN_ACK).hop(),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, b).hop()),
    ]
}

/// Node ports and external addresses, as the world sees them.
fn node_ports<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (a, client, other) = ((F::pod_a(), 4000), (F::client(), 5000), (F::client(), 5001));
    let front = (F::node(), NODE_PORT);
    let (b, near, far) = ((F::pod_b(), 8080), (F::near_pod(), 8080), (F::far_pod(), 8080));
    let tcp = Front { flags: service_flags::NODE_PORT, ..Front::<F>::tcp(front.0, front.1) };
    let udp = Front { flags: service_flags::NODE_PORT, ..Front::<F>::udp(front.0, front.1) };
    let external = (F::external(), 443);
    let snat = (F::node(), SNAT_PORT);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let syn_ack = |from, to| Frame::<F>::tcp(from, to, flags::SYN_ACK);
    let ack = |from, to| Frame::<F>::tcp(from, to, flags::ACK);
    let fin = |from, to| Frame::<F>::tcp(from, to, flags::FIN_ACK);
    vec![
        Case::new(
            "node port, backend here: the client's address stays",
            world().service(tcp, &[(b.0, b.1, via::POD)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(client, b).hop())
        .send(B, &syn_ack(b, client), Redirect, &syn_ack(front, client).hop())
        .send(IN, &ack(client, front), Redirect, &ack(client, b).hop())
        .send(B, &ack(b, client), Redirect, &ack(front, client).hop()),
        Case::new(
            "node port, backend on a near node: from this node's address",
            world().service(tcp, &[(near.0, near.1, via::PEER)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn_ack(near, snat), Redirect, &syn_ack(front, client).hop())
        .send(IN, &ack(client, front), Redirect, &ack(snat, near).hop())
        .send(IN, &ack(near, snat), Redirect, &ack(front, client).hop()),
        Case::new(
            "node port: the only port is another's once both sides have closed",
            world().service(tcp, &[(near.0, near.1, via::PEER)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn_ack(near, snat), Redirect, &syn_ack(front, client).hop())
        .send(IN, &ack(client, front), Redirect, &ack(snat, near).hop())
        .same(IN, &syn(other, front), Drop)
        .send(IN, &fin(client, front), Redirect, &fin(snat, near).hop())
        .same(IN, &syn(other, front), Drop)
        .send(IN, &fin(near, snat), Redirect, &fin(front, client).hop())
        .send(IN, &syn(other, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn_ack(near, snat), Redirect, &syn_ack(front, other).hop())
        .send(IN, &ack(other, front), Redirect, &ack(snat, near).hop()),
        Case::new(
            "node port, backend behind the overlay",
            world().service(tcp, &[(far.0, far.1, via::PEER)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(snat, far).hop())
        .send(FAR, &syn_ack(far, snat), Redirect, &syn_ack(front, client).hop()),
        Case::new(
            "node port, UDP, backend on a near node",
            world().service(udp, &[(near.0, near.1, via::LOOKUP)]),
        )
        .send(IN, &Frame::udp(client, front), Redirect, &Frame::udp(snat, near).hop())
        .send(IN, &Frame::udp(near, snat), Redirect, &Frame::udp(front, client).hop()),
        Case::new(
            "external address",
            world().service(Front::tcp(external.0, external.1), &[(b.0, b.1, via::POD)]),
        )
        .send(IN, &syn(client, external), Redirect, &syn(client, b).hop())
        .send(B, &syn_ack(b, client), Redirect, &syn_ack(external, client).hop()),
        Case::new(
            "node port, backend in the host network",
            world()
                .config_flag(config_flags::HOST_BACKENDS)
                .service(tcp, &[(F::node(), 6443, via::HOST)]),
        )
        .send(IN, &syn(client, front), Pass, &syn(client, (F::node(), 6443)))
        .send(OUT, &syn_ack((F::node(), 6443), client), Pass, &syn_ack(front, client)),
        Case::new("pod to a node port of its node", world().service(tcp, &[(b.0, b.1, via::POD)]))
            .send(A, &syn((F::pod_a(), 4000), front), Redirect, &syn((F::pod_a(), 4000), b).hop())
            .send(
                B,
                &syn_ack(b, (F::pod_a(), 4000)),
                Redirect,
                &syn_ack(front, (F::pod_a(), 4000)).hop(),
            ),
        Case::new(
            "a bond with a backend elsewhere does not count where only those here may serve",
            world()
                .service(
                    Front { flags: service_flags::AFFINITY, ..Front::tcp(F::service(1), 80) },
                    &[(near.0, near.1, via::PEER)],
                )
                .service(
                    Front {
                        flags: service_flags::AFFINITY | service_flags::LOCAL,
                        ..Front::tcp(external.0, external.1)
                    },
                    &[(b.0, b.1, via::POD)],
                )
                .of_one_service(),
        )
        .send(A, &syn(a, (F::service(1), 80)), Redirect, &syn(a, near).hop())
        .send(A, &syn((a.0, 4001), external), Redirect, &syn((a.0, 4001), b).hop()),
        Case::new(
            "another of the node's own addresses serves as backend in the host network",
            world()
                .config_flag(config_flags::HOST_BACKENDS)
                .own_address(F::at(1, 9))
                .service(tcp, &[(F::at(1, 9), 6443, via::HOST)]),
        )
        .send(IN, &syn(client, front), Pass, &syn(client, (F::at(1, 9), 6443)))
        .send(OUT, &syn_ack((F::at(1, 9), 6443), client), Pass, &syn_ack(front, client)),
        Case::new(
            "one client port towards two front ends of one backend: the second gets another",
            world()
                .service(tcp, &[(b.0, b.1, via::POD)])
                .service(Front::tcp(external.0, external.1), &[(b.0, b.1, via::POD)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(client, b).hop())
        .send(IN, &syn(client, external), Redirect, &syn((client.0, F::OTHER_PORT), b).hop())
        .send(B, &syn_ack(b, client), Redirect, &syn_ack(front, client).hop())
        .send(
            B,
            &syn_ack(b, (client.0, F::OTHER_PORT)),
            Redirect,
            &syn_ack(external, client).hop(),
        ),
        Case::new(
            "two clients cannot share the only port of a translated source",
            world().service(tcp, &[(near.0, near.1, via::PEER)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn_ack(near, snat), Redirect, &syn_ack(front, client).hop())
        .same(IN, &syn((F::client(), 5001), front), Drop),
        Case::new(
            "a client that nobody has answered gives the only port to the next",
            world().service(tcp, &[(near.0, near.1, via::PEER)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn((F::client(), 5001), front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn_ack(near, snat), Redirect, &syn_ack(front, (F::client(), 5001)).hop())
        .same(IN, &syn(client, front), Drop),
        Case::new(
            "one port of a translated source serves two destinations",
            world()
                .service(tcp, &[(near.0, near.1, via::PEER)])
                .service(Front::tcp(external.0, external.1), &[(far.0, far.1, via::PEER)]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(snat, near).hop())
        .send(IN, &syn(client, external), Redirect, &syn(snat, far).hop()),
    ]
}

/// Pods and the world.
fn masquerade<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (a, web) = ((F::pod_a(), 4000), (F::client(), 443));
    let snat = (F::node(), SNAT_PORT);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let syn_ack = |from, to| Frame::<F>::tcp(from, to, flags::SYN_ACK);
    let mut kept = World::<F>::new();
    kept.config.flags = 0;
    let mut cases = vec![
        Case::new("pod to the world and back, TCP", world())
            .send(A, &syn(a, web), Redirect, &syn(snat, web).hop())
            .send(IN, &syn_ack(web, snat), Redirect, &syn_ack(web, a).hop())
            .send(
                A,
                &Frame::tcp(a, web, flags::ACK),
                Redirect,
                &Frame::tcp(snat, web, flags::ACK).hop(),
            )
            .send(
                IN,
                &Frame::tcp(web, snat, flags::ACK),
                Redirect,
                &Frame::tcp(web, a, flags::ACK).hop(),
            ),
        Case::new("pod to the world and back, UDP", world())
            .send(A, &Frame::udp(a, web), Redirect, &Frame::udp(snat, web).hop())
            .send(IN, &Frame::udp(web, snat), Redirect, &Frame::udp(web, a).hop()),
        Case::new("pod pings the world", world())
            .send(
                A,
                &Frame::echo_request(a, web.0),
                Redirect,
                &Frame::echo_request(snat, web.0).hop(),
            )
            .send(
                IN,
                &Frame::echo_reply(web.0, snat),
                Redirect,
                &Frame::echo_reply(web.0, a).hop(),
            ),
        Case::new("pod to the world without masquerading", kept).same(A, &syn(a, web), Pass),
        Case::new("an answer that needs no translation gets none", world()).same(
            A,
            &syn_ack(a, web),
            Pass,
        ),
        Case::new("to a port of translated sources that none uses", world()).same(
            IN,
            &syn_ack(web, snat),
            Pass,
        ),
    ];
    if F::VERSION == 4 {
        cases.push(Case::new("pod to the world, UDP without a checksum", world()).send(
            A,
            &Frame::udp_unchecked(a, web),
            Redirect,
            &Frame::udp_unchecked(snat, web).hop(),
        ));
    }
    cases
}

/// Services without a backend.
fn rejections<F: InConfig>() -> Vec<Case<F>> {
    let world = World::<F>::new;
    let (a, vip, client) = ((F::pod_a(), 4000), (F::service(1), 80), (F::client(), 5000));
    let front = (F::node(), NODE_PORT);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let tcp = Front::<F>::tcp(vip.0, vip.1);
    let b = (F::pod_b(), 8080, via::POD);
    let silent = Front { flags: service_flags::DROP, ..Front::<F>::tcp(front.0, front.1) };
    let datagram = Frame::<F>::udp(a, vip);
    let from_outside = Frame::<F>::udp(client, front);
    let unknown_port = syn(a, (vip.0, 81));
    let data = Frame::<F>::tcp(a, (vip.0, 81), flags::ACK);
    vec![
        Case::new("a Service without backends resets TCP", world().service(tcp, &[])).send(
            A,
            &syn(a, vip),
            Redirect,
            &syn(a, vip).reset(),
        ),
        Case::new(
            "a Service without backends answers UDP",
            world().service(Front::udp(vip.0, vip.1), &[]),
        )
        .send(A, &datagram, Redirect, &datagram.unreachable()),
        Case::new(
            "a node port without backends resets TCP",
            world().service(Front::tcp(front.0, front.1), &[]),
        )
        .send(IN, &syn(client, front), Redirect, &syn(client, front).reset()),
        Case::new(
            "a node port without backends answers UDP",
            world().service(Front::udp(front.0, front.1), &[]),
        )
        .send(IN, &from_outside, Redirect, &from_outside.unreachable()),
        Case::new("a Service that keeps silent", world().service(silent, &[])).same(
            IN,
            &syn(client, front),
            Drop,
        ),
        Case::new(
            "an unknown port of a Service is reset",
            world().service(tcp, &[b]).rejecting(vip.0),
        )
        .send(A, &unknown_port, Redirect, &unknown_port.reset())
        .send(A, &data, Redirect, &data.reset()),
        Case::new("a reset is never answered", world().service(tcp, &[b]).rejecting(vip.0)).same(
            A,
            &Frame::tcp(a, (vip.0, 81), flags::RST),
            Drop,
        ),
        Case::new("an address of the range that no Service has", world())
            .same(A, &syn(a, (F::service(9), 80)), Drop)
            .same(IN, &syn(client, (F::service(9), 80)), Drop),
        Case::new(
            "a slot with a backend that is gone",
            world().service(tcp, &[b]).backend_state(backend_state::GONE),
        )
        .same(A, &syn(a, vip), Drop),
        Case::new(
            "a terminating backend still serves",
            world().service(tcp, &[b]).backend_state(backend_state::TERMINATING),
        )
        .send(A, &syn(a, vip), Redirect, &syn(a, (b.0, b.1)).hop()),
    ]
}

/// Services that only some clients may use.
fn source_ranges<F: InConfig>() -> Vec<Case<F>> {
    let (client, stranger) = ((F::client(), 5000), (F::at(97, 9), 5000));
    let (a, b, external) = ((F::pod_a(), 4000), (F::pod_b(), 8080), (F::external(), 443));
    let front =
        Front { flags: service_flags::SOURCE_RANGES, ..Front::<F>::tcp(external.0, external.1) };
    let bits = F::network_mask().0;
    let world = |to: &[_]| World::<F>::new().service(front, to);
    let here = || world(&[(b.0, b.1, via::POD)]);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let for_clients = here().range(F::at(99, 0), bits);
    let for_clients_alone = here().range(F::client(), F::BITS);
    vec![
        Case::new("a client in a Service's range", for_clients.clone()).send(
            IN,
            &syn(client, external),
            Redirect,
            &syn(client, b).hop(),
        ),
        Case::new("a client in a range of one address", for_clients_alone.clone())
            .send(IN, &syn(client, external), Redirect, &syn(client, b).hop())
            .same(IN, &syn((F::at(99, 10), 5000), external), Drop),
        Case::new("a client outside of a Service's ranges", for_clients.clone()).same(
            IN,
            &syn(stranger, external),
            Drop,
        ),
        Case::new("a pod outside of a Service's ranges", for_clients.clone()).same(
            A,
            &syn(a, external),
            Drop,
        ),
        Case::new("a pod in a Service's range", here().range(F::at(20, 0), bits)).send(
            A,
            &syn(a, external),
            Redirect,
            &syn(a, b).hop(),
        ),
        Case::new("a range of another Service", {
            let other = Front::<F>::tcp(F::external(), 80);
            here().service(other, &[(b.0, b.1, via::POD)]).range(F::at(99, 0), bits)
        })
        .same(IN, &syn(client, external), Drop),
        Case::new("a range of every address", here().range(F::Addr::default(), 0)).send(
            IN,
            &syn(stranger, external),
            Redirect,
            &syn(stranger, b).hop(),
        ),
        Case::new("a stranger does not learn that nobody serves", world(&[])).same(
            IN,
            &syn(stranger, external),
            Drop,
        ),
        Case::new("XDP: a client outside of a Service's ranges", for_clients).same(
            XDP,
            &syn(stranger, external),
            Drop,
        ),
    ]
}

/// What XDP does itself, and what it leaves to the hook behind it.
fn xdp<F: InConfig>() -> Vec<Case<F>> {
    let world = || World::<F>::new();
    let (client, front, vip) = ((F::client(), 5000), (F::node(), NODE_PORT), (F::service(1), 80));
    let (b, near, far) = ((F::pod_b(), 8080), (F::near_pod(), 8080), (F::far_pod(), 8080));
    let port = |to: F::Addr, way| world().service(Front::tcp(front.0, front.1), &[(to, 8080, way)]);
    let snat = (F::node(), SNAT_PORT);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let ack = |from, to| Frame::<F>::tcp(from, to, flags::ACK);
    let syn_ack = |from, to| Frame::<F>::tcp(from, to, flags::SYN_ACK);
    let sent = |frame: Frame<F>| frame.hop().link(RECEIVER, NEIGHBOUR);
    let empty = world().service(Front::tcp(front.0, front.1), &[]);
    let plain = Frame::tcp(near, (F::pod_a(), 4000), flags::ACK);
    vec![
        Case::new("XDP: node port, near backend: straight out again", port(near.0, via::PEER))
            .send(XDP, &syn(client, front), Redirect, &sent(syn(snat, near)))
            .send(XDP, &syn_ack(near, snat), Pass, &syn_ack(front, client).hop())
            .send(XDP, &ack(client, front), Redirect, &sent(ack(snat, near)))
            .send(XDP, &ack(client, front), Redirect, &sent(ack(snat, near))),
        Case::new(
            "XDP: node port, backend here: translated, then into the pod",
            port(b.0, via::POD),
        )
        .send(XDP, &syn(client, front), Pass, &syn(client, b))
        .send(IN, &syn(client, b), Redirect, &syn(client, b).hop())
        .send(B, &syn_ack(b, client), Redirect, &syn_ack(front, client).hop()),
        Case::new("XDP: a backend behind the overlay is for the next hook", port(far.0, via::PEER))
            .same(XDP, &syn(client, front), Pass)
            .send(IN, &syn(client, front), Redirect, &syn(snat, far).hop())
            .same(XDP, &ack(client, front), Pass),
        Case::new("XDP: no backend: reset in the driver", empty).send(
            XDP,
            &syn(client, front),
            Redirect,
            &syn(client, front).reset(),
        ),
        Case::new("XDP: packets to pods are for the next hook", world()).same(XDP, &plain, Pass),
        Case::new("XDP: the host's own traffic", world()).same(
            XDP,
            &ack(client, (F::node(), 22)),
            Pass,
        ),
        Case::new("XDP: an address of the range that no Service has", world()).same(
            XDP,
            &syn(client, vip),
            Drop,
        ),
    ]
}
