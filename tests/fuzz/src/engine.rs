//! Target `engine`: the tables of a small cluster, full of any numbers, and packets that come in by any
//! hook.

use arbitrary::{Result, Unstructured};
use skep_abi::{
    Backend, Config, Endpoint, Family, FamilyConfig, Hook, Node, Peer, PortRange, Service,
    ServiceKey, V4, V6,
};
use skep_engine::{
    Action, Call, Ingress, Net, SocketVerdict, Verdict, answer, believed_peer, connect, decide,
    host::HostTables,
};
use skep_packet::{Packet, host::HostPacket, parse};

use crate::{
    Target,
    frame::{Ends, address, frame, is_sound},
};

pub(crate) const TARGET: Target = Target { name: "engine", run, seeds, words: Vec::new };

const PORTS: [u16; 6] = [80, 8080, 20_000, 20_001, 30_080, 0];
const PROTOCOLS: [u8; 4] = [6, 17, 132, 0];
const DEVICES: [u32; 4] = [10, 11, 12, 0];
const HOOKS: [Hook; 6] = [
    Hook::Xdp,
    Hook::NodeIngress,
    Hook::NodeEgress,
    Hook::PodIngress,
    Hook::PodEgress,
    Hook::OverlayIngress,
];
/// Entries of each table.
const ENTRIES: usize = 8;

fn run(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    // Bytes that run out end the play: nothing is left to be said about them.
    let _ = if u.arbitrary().unwrap_or_default() { play::<V4>(&mut u) } else { play::<V6>(&mut u) };
}

fn play<F: Net>(u: &mut Unstructured) -> Result<()> {
    let mut tables = tables::<F>(u)?;
    while !u.is_empty() {
        tables.now_ticks += u64::from(u.arbitrary::<u16>()?);
        if u.ratio(1, 8)? {
            call(u, &tables)?;
        } else {
            packet(u, &tables)?;
        }
    }
    Ok(())
}

/// A packet at a hook: the play ends with its verdict.
fn packet<F: Net>(u: &mut Unstructured, tables: &HostTables<F>) -> Result<()> {
    let at = Ingress {
        ifindex: *u.choose(&DEVICES)?,
        hook: *u.choose(&HOOKS)?,
        // Only what `decide` unwraps is another node's.
        from_peer: false,
    };
    let ends = Ends::<F> {
        src: any_address::<F>(u)?,
        dst: any_address::<F>(u)?,
        sport: *u.choose(&PORTS)?,
        dport: *u.choose(&PORTS)?,
    };
    let before = frame(u, ends)?;
    let mut after = HostPacket(before.clone());
    let verdict = decide(&mut after, tables, at).expect("every one of the hooks is for packets");
    // Judged is what was in the outer header that is gone.
    let unwrapped = after.0.len() + F::HEADER == before.len();
    let before = if unwrapped { without_outer::<F>(&before) } else { before };
    judge::<F>(&before, verdict, after, &tables.config);
    Ok(())
}

fn without_outer<F: Net>(bytes: &[u8]) -> Vec<u8> {
    let mut packet = HostPacket(bytes.to_vec());
    packet.remove_header::<F>().expect("the packet is longer than a header");
    packet.0
}

/// What holds for every packet, whatever is in the tables.
fn judge<F: Net>(before: &[u8], verdict: Verdict, mut after: HostPacket, config: &Config) {
    let sound = is_sound::<F>(before);
    let keeps = |after: &[u8]| {
        assert!(!sound || is_sound::<F>(after), "{verdict:?}\n{before:02x?}\n{after:02x?}");
    };
    let hops = |packet: &HostPacket| parse::<F>(packet).map(|headers| headers.ttl);
    match verdict.action() {
        Action::Error | Action::Open | Action::Route | Action::Unwrap => {
            panic!("a hook's last function asks for another")
        }
        Action::Drop => {}
        Action::Pass => keeps(&after.0),
        Action::ToTunnel => {
            assert!(is_sound::<F>(&after.0), "the outer header of {:02x?}", after.0);
            assert_eq!(without_outer::<F>(&after.0), before, "it goes on as it came");
        }
        Action::ToPod | Action::ToPeer | Action::Out => {
            keeps(&after.0);
            let was = hops(&HostPacket(before.to_vec())).expect("only packets are forwarded");
            assert!(was > 1, "{verdict:?} of a packet at its end");
            assert_eq!(hops(&after), Some(was - 1), "{verdict:?}");
        }
        Action::Reject => {
            assert_eq!(after.0, before, "a packet is rejected as it came");
            let headers = parse::<F>(&after).expect("what is rejected was read");
            if answer(&mut after, &headers, verdict.reason_number(), config).is_some() {
                assert!(is_sound::<F>(&after.0), "the answer {:02x?}", after.0);
            }
        }
    }
}

/// A socket that connects: it gets a backend that serves, and believes in the address that it named.
fn call<F: Net>(u: &mut Unstructured, tables: &HostTables<F>) -> Result<()> {
    let call = Call::<F> {
        addr: any_address::<F>(u)?,
        port_be: u.choose(&PORTS)?.to_be(),
        proto: *u.choose(&PROTOCOLS)?,
        cookie: u.arbitrary()?,
        netns_cookie: u.arbitrary()?,
        random: u.arbitrary()?,
    };
    if let SocketVerdict::To { addr, port_be } = connect(tables, &call) {
        let serves = |backend: &Backend<F>| {
            (backend.addr, backend.port_be) == (addr, port_be) && backend.state != 0
        };
        assert!(tables.backends.iter().any(serves), "{call:?} gets a backend that there is not");
        let believed = believed_peer(tables, call.cookie, addr, port_be);
        assert_eq!(believed, Some((call.addr, call.port_be)));
    }
    Ok(())
}

/// Nodes, pods, Services and clients of the plan, and what is none of them.
fn any_address<F: Family>(u: &mut Unstructured) -> Result<F::Addr> {
    Ok(match u.int_in_range(0..=13)? {
        kind @ 0..=3 => address::<F>(1, kind),
        kind @ 4..=6 => address::<F>(20, kind),
        kind @ 7..=8 => address::<F>(21, kind),
        kind @ 9..=11 => address::<F>(40, kind),
        12 => address::<F>(99, 9),
        _ => {
            let mut any = F::Addr::default();
            for word in any.as_mut() {
                *word = u.arbitrary()?;
            }
            any
        }
    })
}

fn tables<F: Net>(u: &mut Unstructured) -> Result<HostTables<F>> {
    let mut tables = HostTables::<F>::new(config(u)?);
    tables.flow_capacity = u.int_in_range(0..=ENTRIES)?;
    for _ in 0..u.int_in_range(0..=ENTRIES)? {
        tables.put_service(service_key(u)?, service(u)?);
    }
    for _ in 0..u.int_in_range(0..=ENTRIES)? {
        tables.slots.push(u.int_in_range(0..=ENTRIES as u32)?);
    }
    for _ in 0..u.int_in_range(0..=ENTRIES)? {
        tables.backends.push(backend(u)?);
    }
    for _ in 0..u.int_in_range(0..=ENTRIES)? {
        tables.put_endpoint(any_address::<F>(u)?, endpoint(u)?);
    }
    for _ in 0..u.int_in_range(0..=ENTRIES)? {
        let bits = u.int_in_range(0..=32 * F::WORDS as u32)?;
        let node = Node { peer: u.int_in_range(0..=3)?, is_host: u.int_in_range(0..=1)? };
        tables.nodes.push((bits, any_address::<F>(u)?, node));
    }
    for _ in 0..u.int_in_range(0..=3)? {
        let mode = u.int_in_range(0..=2)?;
        let ifindex = *u.choose(&DEVICES)?;
        let (addr4, addr6) = (address::<V4>(1, 2), address::<V6>(1, 2));
        tables.peers.push(Peer { mode, ifindex, addr4, addr6, pad: [0; 3] });
    }
    Ok(tables)
}

fn config(u: &mut Unstructured) -> Result<Config> {
    Ok(Config {
        v4: family(),
        v6: family(),
        snat_ports: PortRange { min: 20_000, max: u.int_in_range(19_999..=20_020)? },
        node_ports: PortRange { min: 30_000, max: 32_767 },
        uplink_ifindex: *u.choose(&DEVICES)?,
        overlay_ifindex: *u.choose(&DEVICES)?,
        overlay_port: 4789,
        flags: u.arbitrary()?,
        ticks_per_s: u.arbitrary()?,
        hash_seed: u.arbitrary()?,
        uplink_mtu: *u.choose(&[0, 1500, 1280, 68])?,
        ..Config::default()
    })
}

/// This node is 1.1, its pods are 20.*, the cluster's 16.* to 31.*, Services 40.*.
fn family<F: Family>() -> FamilyConfig<F> {
    let mask = |net: u8| {
        let mut words = F::Addr::default();
        words.as_mut().fill(u32::MAX);
        let last = if F::VERSION == 4 { [255, 255, net, 0] } else { [255, net, 0, 0] };
        words.as_mut()[F::WORDS - 1] = u32::from_ne_bytes(last);
        words
    };
    FamilyConfig {
        node: address::<F>(1, 1),
        pods: address::<F>(20, 0),
        pods_mask: mask(255),
        cluster: address::<F>(16, 0),
        cluster_mask: mask(240),
        services: address::<F>(40, 0),
        services_mask: mask(255),
    }
}

fn service_key<F: Family>(u: &mut Unstructured) -> Result<ServiceKey<F>> {
    Ok(ServiceKey {
        addr: any_address::<F>(u)?,
        port_be: u.choose(&PORTS)?.to_be(),
        proto: *u.choose(&PROTOCOLS)?,
        scope: u.int_in_range(0..=2)?,
    })
}

fn service(u: &mut Unstructured) -> Result<Service> {
    Ok(Service {
        slot_base: u.int_in_range(0..=ENTRIES as u32)?,
        slot_count: u.int_in_range(0..=ENTRIES as u32)?,
        id: u.int_in_range(1..=3)?,
        flags: u.arbitrary()?,
        affinity_s: u.arbitrary()?,
        ..Service::default()
    })
}

fn backend<F: Family>(u: &mut Unstructured) -> Result<Backend<F>> {
    Ok(Backend {
        addr: any_address::<F>(u)?,
        port_be: u.choose(&PORTS)?.to_be(),
        state: u.int_in_range(0..=4)?,
        via: u.int_in_range(0..=4)?,
        ifindex: *u.choose(&DEVICES)?,
        peer: u.int_in_range(0..=3)?,
    })
}

fn endpoint(u: &mut Unstructured) -> Result<Endpoint> {
    Ok(Endpoint {
        ifindex: *u.choose(&DEVICES)?,
        flags: u.int_in_range(0..=3)?,
        translated: u.int_in_range(0..=3)?,
        ..Endpoint::default()
    })
}

/// Bytes without a pattern (a linear congruential generator's): what they mean is the play.
fn seeds() -> Vec<Vec<u8>> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..64).map(|_| std::iter::repeat_with(&mut next).take(1024).collect()).collect()
}
