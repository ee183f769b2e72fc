//! Tables of cases: what is asked of a node by which objects.

use super::*;
use crate::held::HeldPort;
use crate::service::FORWARDING_ANNOTATION;

fn desired() -> Desired {
    Desired::new(LocalNode {
        name: "a".into(),
        addresses: vec!["192.0.2.10".parse().expect("address")],
        ..LocalNode::default()
    })
}

fn service(spec: &serde_json::Value) -> objects::Service {
    let object = serde_json::json!({
        "metadata": { "namespace": "shop", "name": "web" }, "spec": spec,
    });
    objects::from_json("v1", "Service", &object)
}

fn slice(name: &str, service: &str, endpoints: &serde_json::Value) -> objects::EndpointSlice {
    let object = serde_json::json!({
        "metadata": {
            "namespace": "shop", "name": name,
            "labels": { crate::endpoint::SERVICE_NAME_LABEL: service },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    });
    objects::from_json("discovery.k8s.io/v1", "EndpointSlice", &object)
}

fn only_port(desired: &mut Desired) -> PortTables {
    let mut changed = desired.take_changed(usize::MAX);
    assert_eq!(changed.len(), 1, "{changed:?}");
    let (name, mut ports) = changed.pop().expect("one");
    assert_eq!(name, ServiceName::new("shop", "web"));
    assert_eq!(ports.len(), 1, "{ports:?}");
    ports.pop().expect("one")
}

/// One line per frontend: address, scope, backends' last octets, what an empty set means.
fn lines(port: &PortTables) -> Vec<String> {
    let octet = |ip: IpAddr| ip.to_string().rsplit('.').next().unwrap_or_default().to_owned();
    let line = |(key, frontend): &(FrontendKey, Frontend)| {
        let set: Vec<_> = port.sets[frontend.set].iter().map(|b| octet(b.address.ip())).collect();
        let local = if frontend.local_only { " local" } else { "" };
        format!("{key} {:?} [{}] {:?}{local}", key.scope, set.join(","), frontend.when_empty)
    };
    port.frontends.iter().map(line).collect()
}

const NODE_PORT: fn() -> serde_json::Value = || {
    serde_json::json!({
        "type": "NodePort", "clusterIP": "10.96.0.7",
        "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
    })
};

#[test]
fn a_node_port_is_served_on_every_address_of_the_node() {
    let mut desired = desired();
    desired.set_service(&service(&NODE_PORT()));
    desired.set_slice(&slice(
        "web-1",
        "web",
        &serde_json::json!([
            { "addresses": ["10.244.0.1"], "nodeName": "a" },
            { "addresses": ["10.244.1.2"], "nodeName": "b" },
        ]),
    ));
    let port = only_port(&mut desired);
    assert_eq!(
        lines(&port),
        [
            "10.96.0.7:80/TCP Inside [1,2] Reject",
            "10.96.0.7:80/TCP Outside [1,2] Reject",
            "192.0.2.10:30080/TCP Inside [1,2] Reject",
            "127.0.0.1:30080/TCP Inside [1,2] Reject",
            "192.0.2.10:30080/TCP Outside [1,2] Reject",
        ]
    );
    assert_eq!(port.sets.len(), 1, "nobody asks for the local set");
    assert_eq!(desired.take_changed(usize::MAX), []);
}

#[test]
fn local_policies_keep_to_the_node() {
    let remote = serde_json::json!([{ "addresses": ["10.244.1.2"], "nodeName": "b" }]);
    let both = serde_json::json!([
        { "addresses": ["10.244.0.1"], "nodeName": "a" },
        { "addresses": ["10.244.1.2"], "nodeName": "b" },
    ]);
    let external = |mut spec: serde_json::Value| {
        spec["externalTrafficPolicy"] = "Local".into();
        spec
    };
    let internal = |mut spec: serde_json::Value| {
        spec["internalTrafficPolicy"] = "Local".into();
        spec
    };
    // (name, spec, endpoints, cluster address inside, node port inside, node port outside)
    let cases = [
        (
            "external, one here",
            external(NODE_PORT()),
            both.clone(),
            "[1,2] Reject",
            "[1,2] Reject",
            "[1] Drop local",
        ),
        (
            "external, none here",
            external(NODE_PORT()),
            remote.clone(),
            "[2] Reject",
            "[2] Reject",
            "[] Drop local",
        ),
        (
            "external, none anywhere",
            external(NODE_PORT()),
            serde_json::json!([]),
            "[] Reject",
            "[] Reject",
            "[] Reject local",
        ),
        (
            "internal, none here",
            internal(NODE_PORT()),
            remote,
            "[] Drop local",
            "[2] Reject",
            "[2] Reject",
        ),
        (
            "internal, one here",
            internal(NODE_PORT()),
            both,
            "[1] Drop local",
            "[1,2] Reject",
            "[1,2] Reject",
        ),
    ];
    for (name, spec, endpoints, cluster_inside, node_inside, node_outside) in cases {
        let mut desired = desired();
        desired.set_service(&service(&spec));
        desired.set_slice(&slice("web-1", "web", &endpoints));
        let lines = lines(&only_port(&mut desired));
        let has = |line: String| assert!(lines.contains(&line), "{name}: no {line} in {lines:#?}");
        has(format!("10.96.0.7:80/TCP Inside {cluster_inside}"));
        has(format!("192.0.2.10:30080/TCP Inside {node_inside}"));
        has(format!("192.0.2.10:30080/TCP Outside {node_outside}"));
    }
}

#[test]
fn each_family_has_its_own_backends() {
    let mut desired = desired();
    desired.set_service(&service(&serde_json::json!({
        "clusterIPs": ["10.96.0.7", "fd00::7"], "ports": [{ "name": "http", "port": 80 }],
    })));
    desired.set_slice(&slice(
        "web-1",
        "web",
        &serde_json::json!([{ "addresses": ["10.244.0.1"] }]),
    ));
    desired.set_slice(&slice("web-2", "web", &serde_json::json!([{ "addresses": ["fd01::1"] }])));
    let (_, ports) = desired.take_changed(usize::MAX).pop().expect("changed");
    let [v4, v6] = ports.as_slice() else { panic!("{ports:?}") };
    assert_eq!(
        (v4.family, v4.sets[0][0].address.to_string()),
        (Family::V4, "10.244.0.1:8080".into())
    );
    assert_eq!(
        (v6.family, v6.sets[0][0].address.to_string()),
        (Family::V6, "[fd01::1]:8080".into())
    );
}

#[test]
fn work_follows_the_change() {
    let mut desired = desired();
    let object = service(&NODE_PORT());
    desired.set_service(&object);
    desired.take_changed(usize::MAX);
    desired.set_service(&object);
    assert_eq!(desired.take_changed(usize::MAX), [], "the same object again");

    let other = slice("other-1", "other", &serde_json::json!([]));
    desired.set_slice(&other);
    let names: Vec<_> =
        desired.take_changed(usize::MAX).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [ServiceName::new("shop", "other")]);
}

#[test]
fn a_relabelled_slice_leaves_its_old_service() {
    let mut desired = desired();
    desired.set_service(&service(&NODE_PORT()));
    let endpoints = serde_json::json!([{ "addresses": ["10.244.0.1"], "nodeName": "a" }]);
    desired.set_slice(&slice("web-1", "web", &endpoints));
    assert_eq!(only_port(&mut desired).sets[0].len(), 1);
    desired.set_slice(&slice("web-1", "other", &endpoints));
    let changed = desired.take_changed(usize::MAX);
    let (_, ports) = changed.iter().find(|(name, _)| &*name.name == "web").expect("web changed");
    assert_eq!(ports[0].sets[0], []);
}

#[test]
fn what_a_fresh_list_does_not_name_is_gone() {
    let mut desired = desired();
    desired.set_service(&service(&NODE_PORT()));
    desired.take_changed(usize::MAX);
    desired.retain_services(&BTreeSet::new());
    assert_eq!(desired.take_changed(usize::MAX), [(ServiceName::new("shop", "web"), vec![])]);
}

#[test]
fn health_checks_count_endpoints_not_ports() {
    let mut desired = desired();
    desired.set_service(&service(&serde_json::json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7",
        "externalTrafficPolicy": "Local", "healthCheckNodePort": 31_000,
        "ports": [
            { "name": "http", "port": 80, "nodePort": 30080 },
            { "name": "none", "port": 81, "nodePort": 30081 },
        ],
    })));
    let endpoints = serde_json::json!([
        { "addresses": ["10.244.0.1"], "nodeName": "a" },
        { "addresses": ["10.244.1.2"], "nodeName": "b" },
    ]);
    desired.set_slice(&slice("web-1", "web", &endpoints));
    desired.take_changed(usize::MAX);
    let check = HealthCheck { port: 31_000, local_endpoints: 1 };
    assert_eq!(*desired.health_checks(), [(ServiceName::new("shop", "web"), check)].into());
}

#[test]
fn the_same_port_for_two_protocols_is_two_frontends() {
    let mut desired = desired();
    desired.set_service(&service(&serde_json::json!({
        "clusterIP": "10.96.0.10",
        "ports": [
            { "name": "dns", "port": 53, "protocol": "UDP" },
            { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
        ],
    })));
    let (_, ports) = desired.take_changed(usize::MAX).pop().expect("changed");
    let protocols: Vec<_> = ports.iter().map(|port| port.frontends[0].0.protocol).collect();
    assert_eq!(protocols, [Protocol::Udp, Protocol::Tcp]);
}

#[test]
fn only_a_balancers_addresses_have_ranges() {
    let mut desired = desired();
    let spec = serde_json::json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalIPs": ["192.0.2.50"],
        "loadBalancerSourceRanges": ["10.1.2.3/8", "fd00::/8"],
        "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
    });
    let mut object = service(&spec);
    object.status = Some(objects::ServiceStatus {
        load_balancer: Some(objects::LoadBalancerStatus {
            ingress: vec![objects::LoadBalancerIngress {
                ip: "192.0.2.60".into(),
                ip_mode: "VIP".into(),
            }],
        }),
    });
    desired.set_service(&object);
    let port = only_port(&mut desired);
    assert_eq!(port.source_ranges, ["10.0.0.0/8".parse::<IpNet>().expect("range")]);
    for (key, frontend) in &port.frontends {
        assert_eq!(frontend.ranged, key.address.to_string() == "192.0.2.60", "{key}");
    }
}

#[test]
fn direct_server_return_is_for_outside_and_serves_what_other_nodes_send() {
    // (annotation, cluster's mode, policy, foreign network, whether)
    for (annotation, default, policy, foreign, expected) in [
        (None, false, "Cluster", false, false),
        (None, true, "Cluster", false, true),
        (Some("dsr"), false, "Cluster", false, true),
        (Some("snat"), true, "Cluster", false, false),
        (Some("dsr"), false, "Local", false, false),
        (Some("dsr"), false, "Cluster", true, false),
    ] {
        let mut node = desired().node;
        node.sources = Sources { dsr: default, foreign, ..Sources::default() };
        let mut desired = Desired::new(node);
        let mut spec = NODE_PORT();
        spec["externalTrafficPolicy"] = policy.into();
        let mut object = service(&spec);
        let annotation = annotation.map(|mode| (FORWARDING_ANNOTATION.to_owned(), mode.to_owned()));
        object.metadata.as_mut().expect("has one").annotations.extend(annotation.clone());
        desired.set_service(&object);
        let endpoints = serde_json::json!([
            { "addresses": ["10.244.0.1"], "nodeName": "a" },
            { "addresses": ["10.244.1.2"], "nodeName": "b" },
        ]);
        desired.set_slice(&slice("web-1", "web", &endpoints));
        let port = only_port(&mut desired);
        let dsr: Vec<_> = port.frontends.iter().filter(|(_, frontend)| frontend.dsr).collect();
        let told: Vec<_> = dsr.iter().map(|(key, f)| (key.scope, port.sets[f.set].len())).collect();
        let wanted: &[_] = if expected { &[(Scope::Outside, 2), (Scope::Local, 1)] } else { &[] };
        assert_eq!(told, wanted, "{annotation:?} {default} {policy} {foreign}");
    }
}

#[test]
fn a_service_that_is_given_to_another_proxy_is_given_up() {
    let mut desired = desired();
    desired.set_service(&service(&NODE_PORT()));
    assert!(!only_port(&mut desired).frontends.is_empty());
    let mut given = service(&NODE_PORT());
    let labels = &mut given.metadata.as_mut().expect("named").labels;
    labels.insert(crate::service::PROXY_NAME_LABEL.into(), "other".into());
    desired.set_service(&given);
    assert_eq!(desired.take_changed(usize::MAX), [(ServiceName::new("shop", "web"), vec![])]);
    desired.set_service(&service(&NODE_PORT()));
    assert!(!only_port(&mut desired).frontends.is_empty(), "and taken back");
}

#[test]
fn endpoints_of_headless_services_ask_for_nothing() {
    let mut desired = desired();
    let headless = serde_json::json!({
        "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }],
    });
    desired.set_service(&service(&headless));
    let endpoints = serde_json::json!([{ "addresses": ["10.244.0.1"] }]);
    desired.set_slice(&slice("web-1", "web", &endpoints));
    assert_eq!(desired.take_changed(usize::MAX), [(ServiceName::new("shop", "web"), vec![])]);
}

/// What is told of a Service.
fn told(desired: &Desired) -> Vec<String> {
    let refusals = desired.refusals(&ServiceName::new("shop", "web"));
    refusals.iter().map(|(reason, note)| format!("{reason} {note}")).collect()
}

#[test]
fn a_node_port_that_a_process_holds_is_served_once_it_lets_go() {
    let mut desired = desired();
    desired.set_service(&service(&NODE_PORT()));
    desired.take_changed(usize::MAX);
    let node = desired.node.clone();
    let held = |port| {
        let address = "192.0.2.10".parse().expect("address");
        LocalNode {
            held: [HeldPort { address, port, protocol: Protocol::Tcp }].into(),
            ..node.clone()
        }
    };
    desired.set_node(held(22));
    assert_eq!(desired.take_changed(usize::MAX), [], "another port than any Service has");
    desired.set_node(held(30_080));
    let lines = |desired: &mut Desired| lines(&only_port(desired));
    let on_node = |line: &&String| line.starts_with("192.0.2.10:30080");
    assert_eq!(lines(&mut desired).iter().filter(on_node).count(), 0);
    let in_use =
        "PortInUse 192.0.2.10:30080/TCP: not served, since a process of the node listens there";
    assert_eq!(told(&desired), [in_use]);
    desired.set_node(node.clone());
    assert_eq!(lines(&mut desired).iter().filter(on_node).count(), 2);
    assert_eq!(told(&desired), [""; 0]);
}

#[test]
fn ranges_that_become_known_later_count() {
    let mut desired = desired();
    desired.set_service(&service(&NODE_PORT()));
    let is_served = |desired: &mut Desired| {
        let lines = lines(&only_port(desired));
        lines.iter().any(|line| line.starts_with("10.96.0.7:80"))
    };
    assert!(is_served(&mut desired));
    for (range, served) in [("10.97.0.0/16", false), ("10.96.0.0/16", true)] {
        let service_ranges = vec![range.parse().expect("range")];
        desired.set_node(LocalNode { service_ranges, ..desired.node.clone() });
        assert_eq!(is_served(&mut desired), served, "{range}");
        assert_eq!(told(&desired).is_empty(), served, "{range}");
    }
}

#[test]
fn ten_thousand_ports_cost_the_others_nothing() {
    let mut desired = desired();
    let ports: Vec<_> = (1..=10_000)
        .map(|number| serde_json::json!({ "name": format!("p{number}"), "port": number }))
        .collect();
    desired.set_service(&service(&serde_json::json!({ "clusterIP": "10.96.0.7", "ports": ports })));
    let mut object = slice("web-1", "web", &serde_json::json!([{ "addresses": ["10.244.0.1"] }]));
    let port = |number| objects::EndpointPort {
        name: Some(format!("p{number}")),
        protocol: None,
        port: Some(8080),
    };
    object.ports = (1..=10_000).map(port).collect();
    desired.set_slice(&object);
    let (_, ports) = desired.take_changed(usize::MAX).pop().expect("changed");
    assert_eq!(ports.len(), MAX_PORTS);
    assert!(ports.iter().all(|port| port.sets[0].len() == 1), "those that are served are whole");
    let notes = told(&desired);
    assert!(notes[0].starts_with("ServiceTooLarge 8976 of its ports"), "{notes:?}");

    desired.remove_service(&ServiceName::new("shop", "web"));
    assert_eq!(desired.take_changed(usize::MAX), [(ServiceName::new("shop", "web"), vec![])]);
    assert_eq!(told(&desired), [""; 0]);
}
