//! What a person sees who looks on: connections as they are opened, packets as they are dropped, flows
//! and counters, with names.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use skep_netns_tests::{Node, Services, World};
use skep_network::topology::Routing;

/// More than any of the events needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a command writes, to be read line by line; it ends when nobody reads any more.
struct Lines(SyncSender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(text).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `skep net monitor` beside `work`, which is given its events.
fn monitored(node: &Node, words: &[&str], work: impl FnOnce(&Receiver<String>)) {
    let (to, from) = sync_channel(64);
    std::thread::scope(|scope| {
        let words = [&["monitor", "-o", "json"], words].concat();
        let command = scope.spawn(move || node.net_to(&words, &mut Lines(to)));
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&from)));
        // It ends with the next line that it prints.
        drop(from);
        while !command.is_finished() {
            node.host().ask("tcp", "10.96.0.3:80").expect_err("nobody serves it");
        }
        let ended = command.join().expect("it does not panic");
        if let Err(panic) = outcome {
            eprintln!("the monitor: {ended:?}");
            resume_unwind(panic);
        }
        ended.expect("it runs until nobody reads");
    });
}

/// The next event that `wanted` describes; `act` is done again until it comes, as the monitor may not
/// listen yet.
fn event_of(lines: &Receiver<String>, act: &dyn Fn(), wanted: &dyn Fn(&Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        act();
        while let Ok(line) = lines.recv_timeout(Duration::from_millis(300)) {
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            if wanted(&event) {
                return event;
            }
        }
    }
    panic!("the event did not come");
}

fn service(cluster_ip: &str, node_port: u16) -> Value {
    json!({
        "type": "NodePort", "clusterIP": cluster_ip,
        "ports": [{ "name": "http", "port": 80, "nodePort": node_port, "protocol": "TCP" }],
    })
}

#[test]
fn traffic_is_shown_with_names() {
    let world = World::new(Routing::Direct);
    let (a, b) = (world.a(), world.b());
    let (client, local, remote) = (a.pod("client"), a.pod("local"), b.pod("remote"));
    let _servers = [local.place().serve(8080, "local"), remote.place().serve(8080, "remote")];
    let mut services = Services::start(a);
    services
        .service("near", &service("10.96.0.1", 30_001))
        .endpoints("near", 8080, "TCP", &[(&local, a)])
        .service("far", &service("10.96.0.2", 30_002))
        .endpoints("far", 8080, "TCP", &[(&remote, b)])
        .service("none", &service("10.96.0.3", 30_003));
    services.sync();
    services.name(&[&client, &local, &remote]);
    let outside = world.outside();
    let (far, none) = (format!("{}:30002", a.address), format!("{}:30003", a.address));
    let is = |field: &'static str, wanted: &'static str| {
        move |event: &Value| event[field].as_str() == Some(wanted)
    };

    monitored(a, &[], |lines| {
        let asks = || drop(client.place().ask("tcp", "10.96.0.1:80").expect("it answers"));
        let event = event_of(lines, &asks, &is("verdict", "connected"));
        assert_eq!(event["service"], "test/near:http");
        assert_eq!(event["backendPod"], "test/local");
        assert_eq!(event["sourcePod"], "test/client");

        let asks = || drop(outside.ask("tcp", &far).expect("it answers"));
        let event = event_of(lines, &asks, &is("verdict", "opened"));
        assert_eq!(event["service"], "test/far:http");
        assert_eq!(event["backendPod"], "test/remote");
        assert!(event["translatedSource"].as_str().expect("SNAT").starts_with("192.0.2.10:"));

        let asks = || drop(outside.ask("tcp", &none).expect_err("nobody serves it"));
        let event = event_of(lines, &asks, &|event| {
            event["hook"] == "node-ingress" && event["reason"] == "no-backend"
        });
        assert_eq!(
            (&event["verdict"], &event["service"]),
            (&json!("refused"), &json!("test/none:http"))
        );
    });

    // Filters: of two kinds of traffic only one is shown.
    monitored(a, &["--service", "none", "--verdict", "refused"], |lines| {
        let asks = || {
            client.place().ask("tcp", "10.96.0.1:80").expect("it answers");
            client.place().ask("tcp", "10.96.0.3:80").expect_err("nobody serves it");
        };
        let event = event_of(lines, &asks, &|_| true);
        assert_eq!((&event["verdict"], &event["hook"]), (&json!("refused"), &json!("connect")));
        assert_eq!(event["service"], "test/none:http");
    });

    let drops = a.net_json(&["drops"]);
    let of = |reason: &str, hook: &str| {
        let counts = drops.as_array().expect("an array").iter();
        counts.filter(|count| count["reason"] == reason && count["hook"] == hook).count()
    };
    assert_eq!((of("no-backend", "node-ingress"), of("no-backend", "connect")), (1, 1), "{drops}");
    let text = a.net(&["drops"]);
    assert!(text.contains(skep_abi::Reason::NoBackend.advice()), "no advice: {text}");

    let talk = outside.talk("tcp", &far);
    let flows = a.net_json(&["flows", "--service", "test/far", "--state", "established"]);
    let flows = flows.as_array().expect("an array");
    assert!(flows.iter().any(|flow| flow["direction"] == "first"), "{flows:?}");
    assert!(flows.iter().all(|flow| flow["service"] == "test/far:http"), "{flows:?}");
    let backend = format!("{}:8080", remote.address);
    assert!(flows.iter().all(|flow| flow["backend"] == *backend), "{flows:?}");
    assert_eq!(a.net_json(&["flows", "--pod", "local"]), json!([]));
    let rates = a.net_json(&["top", "--once", "--interval", "1", "--service", "far"]);
    assert_eq!(rates[0]["service"], "test/far:http", "{rates}");
    assert!(rates[0]["packetsPerSecond"].as_f64().expect("a number") > 0.0, "{rates}");
    talk.stop().expect("it was answered");
}
