//! Services that ask for what they must not have, and what the proxy says about it: an API server, the
//! proxy that follows it, and real sockets.

use serde_json::{Value, json};
use skep_netns_tests::api::{SERVICES, SLICES};
use skep_netns_tests::{Api, Pod, World, wait_for};
use skep_network::topology::Routing;

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// A Service with one port, called `http`, and no selector.
fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["ports"][0]["name"] = "http".into();
    json!({ "metadata": { "name": name }, "spec": spec })
}

/// Its endpoint.
fn slice(service: &str, pod: &Pod, node: &str) -> Value {
    json!({
        "metadata": {
            "name": service, "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [pod.address], "nodeName": node }],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

/// The notes of the Events on a Service.
fn notes(api: &Api, service: &str) -> Vec<String> {
    let events = api.get(EVENTS);
    let events = events["items"].as_array().expect("a list").iter();
    let about = events.filter(|event| event["regarding"]["name"] == service);
    let words = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    about.map(|event| format!("{}: {}", words(event, "reason"), words(event, "note"))).collect()
}

#[test]
fn a_node_port_that_a_process_held_first_is_the_processs_until_it_lets_go() {
    let world = World::new(Routing::Direct);
    let (a, outside) = (world.a(), world.outside());
    let pod = a.pod("server");
    let _serves = pod.place().serve(8080, "pod");
    let process = a.host().serve(30_080, "process");
    let api = Api::start(&world);
    let _agent = a.agent(&api.kubeconfig());
    let spec = json!({
        "type": "NodePort", "clusterIP": "10.96.0.50",
        "ports": [{ "port": 80, "nodePort": 30_080 }],
    });
    api.create(SERVICES, &service("web", spec));
    api.create(SLICES, &slice("web", &pod, "a"));
    let who = |address: &str| outside.ask("tcp", address).map(|client| client.server);
    let served = |by: &'static str, address: &'static str| {
        move |answer: Result<String, String>| match answer {
            Ok(server) if server == by => Ok(()),
            other => Err(format!("{address}: {other:?}")),
        }
    };
    wait_for("answer at the cluster address", || {
        served("pod", "10.96.0.50:80")(a.host().ask("tcp", "10.96.0.50:80").map(|c| c.server))
    });
    assert_eq!(who("192.0.2.10:30080"), Ok("process".to_owned()));
    let told = wait_for("Event", || {
        let notes = notes(&api, "web");
        notes.first().cloned().ok_or_else(|| "no Event at all".to_owned())
    });
    let note = "PortInUse: 127.0.0.1:30080/TCP and 1 more: not served, since a process of the node \
                listens there";
    assert_eq!(told, note);

    a.verify(&api.kubeconfig()).expect("what is refused would be so after a fresh start");

    drop(process);
    wait_for("answer at the node port", || {
        served("pod", "192.0.2.10:30080")(who("192.0.2.10:30080"))
    });
}

#[test]
fn a_hostile_service_hurts_itself_alone() {
    let world = World::new(Routing::Direct);
    let (a, outside) = (world.a(), world.outside());
    let (pod, thief) = (a.pod("server"), a.pod("thief"));
    let _serves = [pod.place().serve(8080, "pod"), thief.place().serve(8080, "thief")];
    let daemon = a.host().serve(2222, "daemon");
    let api = Api::start(&world);
    let _agent = a.agent(&api.kubeconfig());
    api.create(
        SERVICES,
        &service("web", json!({ "clusterIP": "10.96.0.50", "ports": [{ "port": 80 }] })),
    );
    api.create(SLICES, &slice("web", &pod, "a"));
    // A port of the node's daemon, another Service's address, a pod's.
    let addresses = ["192.0.2.10", "10.96.0.50", &pod.address.to_string(), "198.51.100.9"];
    let spec = json!({
        "clusterIP": "10.96.0.51", "externalIPs": addresses,
        "ports": [{ "port": 2222, "targetPort": 8080 }],
    });
    api.create(SERVICES, &service("hostile", spec));
    api.create(SLICES, &slice("hostile", &thief, "a"));
    let asks = |address: &str| a.host().ask("tcp", address).map(|client| client.server);
    let is = |server: &str, address: &str| match asks(address) {
        Ok(found) if found == server => Ok(()),
        other => Err(format!("{address}: {other:?}")),
    };
    wait_for("answer of the other Service", || is("pod", "10.96.0.50:80"));
    // What nobody else has is served.
    wait_for("answer at its own addresses", || is("thief", "10.96.0.51:2222"));
    wait_for("answer at its own addresses", || is("thief", "198.51.100.9:2222"));
    assert_eq!(
        outside.ask("tcp", "192.0.2.10:2222").map(|client| client.server),
        Ok("daemon".to_owned())
    );
    asks("10.96.0.50:2222").expect_err("the other Service has no such port");
    asks(&format!("{}:2222", pod.address)).expect_err("the pod has no such port");
    let notes_told = wait_for("Events", || {
        let mut notes = notes(&api, "hostile");
        notes.sort_unstable();
        if notes.len() == 2 { Ok(notes) } else { Err(format!("{notes:?}")) }
    });
    let told = format!(
        "AddressRefused: 10.96.0.50: not served, since this is a cluster address, for one Service alone; \
         {}: not served, since this is an address of pods",
        pod.address
    );
    assert_eq!(notes_told[0], told);
    let note = "192.0.2.10:2222/TCP: not served, since a process of the node listens there";
    assert_eq!(notes_told[1], format!("PortInUse: {note}"));
    assert_eq!(notes(&api, "web"), [""; 0]);
    drop(daemon);
}

#[test]
fn the_metrics_say_what_became_of_packets_and_how_full_tables_are() {
    let world = World::new(Routing::Direct);
    let a = world.a();
    let (client, pod) = (a.pod("client"), a.pod("server"));
    let _serves = pod.place().serve(8080, "pod");
    let api = Api::start(&world);
    let _agent = a.agent(&api.kubeconfig());
    let spec = json!({
        "type": "NodePort", "clusterIP": "10.96.0.50",
        "ports": [{ "port": 80, "nodePort": 30_080 }],
    });
    api.create(SERVICES, &service("web", spec));
    api.create(SLICES, &slice("web", &pod, "a"));
    let outside = world.outside();
    wait_for("answer at the node port", || outside.ask("tcp", "192.0.2.10:30080"));
    outside.ask("tcp", "192.0.2.10:30080").expect("it is served");
    client.place().ask("tcp", "10.96.0.77:80").expect_err("nobody has this address");
    // The agent counts from time to time.
    let text = wait_for("counts of all tables", || {
        let text = a.metrics();
        let empty =
            |table: &&str| text.contains(&format!("skep_table_entries{{table=\"{table}\"}} 0"));
        let tables = ["flows4", "services4", "backends4", "slots", "endpoints4"];
        let known =
            |table: &&str| text.contains(&format!("skep_table_entries{{table=\"{table}\"}} "));
        match tables.iter().find(|table| empty(table) || !known(table)) {
            Some(table) => Err(format!("{table} is empty")),
            None => Ok(text),
        }
    });
    let value = |series: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        line.trim().parse().expect("a number")
    };
    let forwarded = r#"skep_datapath_packets_total{hook="node-ingress",reason="forwarded",verdict="forwarded"}"#;
    assert!(value(forwarded) > 0);
    assert!(value(&forwarded.replace("packets", "bytes")) > value(forwarded));
    assert!(value(r#"skep_datapath_connections_opened_total{hook="node-ingress"}"#) >= 2);
    let refused =
        r#"skep_datapath_packets_total{hook="connect",reason="unknown-service",verdict="dropped"}"#;
    assert_eq!(value(refused), 1);
    let tables = a.tables();
    let room = value(r#"skep_table_max_entries{table="flows4"}"#);
    assert_eq!(room, u64::from(tables.v4.flows.capacity()));
    assert!(value(r#"skep_table_entries{table="flows4"}"#) <= room);
    let connections = |state| {
        value(&format!(r#"skep_connections{{ip_family="IPv4",protocol="tcp",state="{state}"}}"#))
    };
    assert!(connections("open") + connections("closing") > 0);
    assert!(value("kubeproxy_sync_proxy_rules_service_changes_total") > 0);
    for series in ["skep_table_entries{", "skep_table_max_entries{"] {
        let mut tables: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with(series))
            .map(|line| line.split(' ').next())
            .collect();
        let all = tables.len();
        tables.sort_unstable();
        tables.dedup();
        assert_eq!(tables.len(), all, "each table is told once");
    }
}
