//! `skep proxy --cleanup` takes away what `skep proxy` left in the kernel, and nothing else.

use std::path::Path;
use std::process::{Command, Stdio};

use skep_netns_tests::attached::attached;
use skep_netns_tests::{Objects, World, wait_for};
use skep_network::topology::Routing;

/// What a node has beside programs and tables.
fn surroundings(world: &World) -> String {
    let ip = |words: &[&str]| {
        let mut command = world.a().host().command(Path::new("ip"), words);
        let output = command.output().expect("iproute2 is installed");
        String::from_utf8(output.stdout).expect("text")
    };
    [ip(&["-details", "link"]), ip(&["address"]), ip(&["route", "show", "table", "all"])].concat()
}

#[test]
fn cleanup_removes_programs_tables_and_links_and_nothing_else() {
    let world = World::new(Routing::Direct);
    let node = world.a();
    // An agent has its own datapath on the same devices, and other things are pinned beside.
    let (pins, others) = (world.folder().join("bpf/alone"), node.attached());
    let run_dir = world.folder().join("alone");
    let cgroup = node.host().cgroup().expect("a node has a control group");
    let program = Path::new(env!("CARGO_BIN_EXE_skep"));
    let proxy = |more: &[&str]| -> Command {
        let words = [
            "proxy".to_owned(),
            format!("--bpf-dir={}", pins.display()),
            format!("--run-dir={}", run_dir.display()),
            format!("--socket-cgroup={}", cgroup.display()),
        ];
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        node.host().command(program, &words)
    };

    // Nobody answers there: it sets up its datapath all the same.
    let mut running = proxy(&["--master=http://192.0.2.1:9", "--hostname-override=a"]);
    running.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = running.spawn().expect("skep runs");
    wait_for("sockets and the device", || {
        let links = attached(&pins);
        let has = |name: &str| links.contains_key(name);
        let all = ["cgroup-connect4", "cgroup-getpeername6", "eth0-node_ingress"];
        if all.into_iter().all(has) { Ok(()) } else { Err(format!("{links:?}")) }
    });
    running.kill().expect("it runs");
    running.wait().expect("it is our child");
    let left = Objects::pinned(&pins);
    assert!(left.count().0 >= 10 && left.count().1 >= 20, "{left:?}");
    assert_eq!(left.remaining(), left, "they outlive the process");
    let (links, before) = (attached(&pins), surroundings(&world));
    assert!(!links.is_empty());

    for _ in 0..2 {
        let output = proxy(&["--cleanup"]).output().expect("skep runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!pins.exists(), "a pin is left");
    }
    // The kernel takes its time.
    wait_for("the end of programs and tables", || match left.remaining() {
        remaining if remaining.count() == (0, 0) => Ok(()),
        remaining => Err(format!("{remaining:?}")),
    });
    assert_eq!(node.attached(), others, "another datapath's links");
    assert_eq!(surroundings(&world), before);
}
