//! A new build of the programs takes the place of the old one without a gap.

use skep_netns_tests::api::Api;
use skep_netns_tests::load::{Load, Target};
use skep_netns_tests::{Attached, Node, World, wait_for};
use skep_network::topology::Routing;

const UPGRADES: usize = 3;

#[test]
fn an_upgrade_of_the_programs_loses_no_packet_and_no_connection() {
    let world = World::new(Routing::Auto);
    let api = Api::start(&world);
    let target = Target::new(&world, &api);
    let start = |node: &Node| Some(node.agent(&api.kubeconfig()));
    let mut agents: Vec<_> = world.nodes().iter().map(start).collect();
    api.await_verified(&world);

    let load = Load::start(&world, &target);
    for _ in 0..UPGRADES {
        for (node, agent) in world.nodes().iter().zip(&mut agents) {
            let before = node.attached();
            assert!(before.len() > 10, "sockets, devices and pods: {before:?}");
            drop(agent.take());
            *agent = start(node);
            wait_for("new programs everywhere", || {
                let now = node.attached();
                let replaced = |(name, old): (&String, &Attached)| {
                    now.get(name).is_some_and(|new| new.program != old.program)
                };
                if before.iter().all(replaced) { Ok(()) } else { Err(format!("{now:?}")) }
            });
            let links = |all: &std::collections::BTreeMap<String, Attached>| -> Vec<u32> {
                all.values().map(|attached| attached.link).collect()
            };
            assert_eq!(links(&node.attached()), links(&before), "a link was made anew");
        }
    }
    let answers = load.stop();
    api.await_verified(&world);
    println!("{UPGRADES} upgrades of each node: {answers:?}");
    for node in world.nodes() {
        let drops = node.drops();
        assert!(drops.is_empty(), "node {} dropped packets: {drops:?}", node.name);
    }
}
