//! Affinity across the addresses of one Service: a bond counts at every address that chooses among the
//! same backends, and at no other.

use skep_abi::{service_flags, via};

use super::{Case, Frame, Front, IN, InConfig, NODE_PORT, Redirect, World, flags};
use crate::world::SNAT_PORT;

/// All of them.
pub(super) fn cases<F: InConfig>() -> Vec<Case<F>> {
    let own = World::<F>::new;
    let foreign = || World::<F>::new().foreign();
    let client = |port| (F::client(), port);
    let (here, there) = ((F::pod_b(), 8080), (F::near_pod(), 8080));
    let (external, node_port) = ((F::external(), 443), (F::node(), NODE_PORT));
    let snat = (F::node(), SNAT_PORT);
    let syn = |from, to| Frame::<F>::tcp(from, to, flags::SYN);
    let front = |to: (F::Addr, u16), also| Front {
        flags: service_flags::AFFINITY | also,
        ..Front::<F>::tcp(to.0, to.1)
    };
    let any = |to| front(to, 0);
    let kept = |to| front(to, service_flags::LOCAL);
    vec![
        Case::new(
            "a bond made at one address of a Service counts at another",
            own()
                .service(any(external), &[(here.0, here.1, via::POD)])
                .service(any(node_port), &[(there.0, there.1, via::PEER)])
                .of_one_service(),
        )
        .send(IN, &syn(client(5000), external), Redirect, &syn(client(5000), here).hop())
        .send(IN, &syn(client(5001), node_port), Redirect, &syn(client(5001), here).hop()),
        Case::new(
            "a bond made where only backends here may serve counts at another such address",
            foreign()
                .service(kept(external), &[(here.0, here.1, via::DEVICE)])
                .service(kept(node_port), &[(F::pod_a(), 8080, via::DEVICE)])
                .of_one_service(),
        )
        .send(IN, &syn(client(5000), external), Redirect, &syn(client(5000), here).hop())
        .send(IN, &syn(client(5001), node_port), Redirect, &syn(client(5001), here).hop()),
        Case::new(
            "over a foreign network a bond does not lead away where only backends here may serve",
            foreign()
                .service(any(external), &[(there.0, there.1, via::DEVICE)])
                .service(kept(node_port), &[(here.0, here.1, via::DEVICE)])
                .of_one_service(),
        )
        .send(IN, &syn(client(5000), external), Redirect, &syn(snat, there).hop())
        .send(IN, &syn(client(5001), node_port), Redirect, &syn(client(5001), here).hop()),
        Case::new(
            "nor does a bond made there count at the Service's other addresses",
            foreign()
                .service(kept(node_port), &[(here.0, here.1, via::DEVICE)])
                .service(any(external), &[(there.0, there.1, via::DEVICE)])
                .of_one_service(),
        )
        .send(IN, &syn(client(5000), node_port), Redirect, &syn(client(5000), here).hop())
        .send(IN, &syn(client(5001), external), Redirect, &syn(snat, there).hop()),
    ]
}
