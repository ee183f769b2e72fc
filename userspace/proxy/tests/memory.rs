//! What the proxy keeps of a large cluster: heap that is live once everything is planned.

use std::time::Instant;

use skep_proxy::desired::Desired;
use skep_proxy::local_node::LocalNode;
use skep_proxy::objects::{
    Endpoint, EndpointPort, EndpointSlice, Meta, ObjectReference, Service, ServicePort, ServiceSpec,
};
use skep_proxy::plan::{Planner, Snapshot};
use skep_proxy::room::{Capacity, Room};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SERVICES: u32 = 2_000;
const ENDPOINTS: u32 = 10;
/// Heap for a Service with one port and ten endpoints. With ten thousand of them that is 27 MiB; with the
/// program itself and what reading the lists takes, the aim is 64.
const SERVICE_BYTES: usize = 2_900;

fn meta(name: String, labels: &[(&str, &str)]) -> Option<Meta> {
    Some(Meta {
        name,
        namespace: "shop".into(),
        uid: "5f1c3a9e-7d43-4c0b-9c52-0a2c5f6f8a11".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Meta::default()
    })
}

fn service(number: u32) -> Service {
    let port = ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80, node_port: 0 };
    let address = format!("10.96.{}.{}", number / 250, number % 250 + 1);
    let spec = ServiceSpec {
        ports: vec![port],
        cluster_ips: vec![address.clone()],
        cluster_ip: address,
        ..ServiceSpec::default()
    };
    Service { metadata: meta(format!("web-{number}"), &[]), spec: Some(spec), status: None }
}

fn slice(number: u32) -> EndpointSlice {
    let endpoint = |n: u32| Endpoint {
        addresses: vec![format!("10.{}.{}.{n}", 128 + number / 250, number % 250)],
        node_name: Some(format!("node-{}", n % 3)),
        target_ref: Some(ObjectReference {
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: format!("web-{number}-6f7d9c8b4-{n:05}"),
        }),
        ..Endpoint::default()
    };
    let port =
        EndpointPort { name: Some("http".into()), protocol: Some("TCP".into()), port: Some(8080) };
    let of = format!("web-{number}");
    EndpointSlice {
        metadata: meta(format!("web-{number}-x7k2p"), &[("kubernetes.io/service-name", &of)]),
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        ports: vec![port],
        address_type: "IPv4".into(),
    }
}

#[test]
fn a_service_with_ten_endpoints_is_kept_in_little_memory() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let (now, live) = (Instant::now(), || dhat::HeapStats::get().curr_bytes);
    let room = Room { size: 1 << 12, limit: 1 << 24 };
    let capacity =
        Capacity { slots: room, backends: [room; 2], services: [1 << 20; 2], ranges: [1 << 20; 2] };
    let before = live();
    let mut desired = Desired::new(LocalNode::default());
    let mut planner = Planner::new(capacity, Snapshot::default());
    for number in 0..SERVICES {
        desired.set_service(&service(number));
        desired.set_slice(&slice(number));
    }
    let known = live();
    loop {
        // As the proxy does: what is on its way to the tables stays small.
        let changed = desired.take_changed(64);
        if changed.is_empty() {
            break;
        }
        changed.into_iter().for_each(|(name, ports)| planner.set_service(&name, ports, now));
        planner.take_plan(now);
    }
    planner.settle(now);
    let planned = live();
    assert_eq!(planner.ids().count(), SERVICES as usize);
    let each = |bytes: usize| bytes / SERVICES as usize;
    let (objects, tables) = (each(known - before), each(planned.saturating_sub(known)));
    println!("a Service: {objects} bytes of objects, {tables} of what is planned");
    assert!(each(planned - before) <= SERVICE_BYTES, "{objects} and {tables} bytes a Service");
}
