use std::time::Duration;

use super::*;
use crate::resources::Resources;

const NAME: &str = "default-scheduler";
const LATER: Duration = Duration::from_secs(60);

struct World {
    scheduler: Scheduler,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { scheduler: Scheduler::new(NAME, Profile::default()), now: Instant::now() }
    }

    fn node(&mut self, name: &str, cpu_milli: i64) {
        let allocatable = Resources { cpu_milli, ..Resources::default() };
        let node =
            NodeInfo { name: name.into(), allocatable, allowed_pods: 10, ..NodeInfo::default() };
        self.scheduler.set(Object::Node(node), self.now);
    }

    fn pod(&mut self, pod: PodInfo) {
        self.scheduler.set(Object::Pod(Arc::new(pod)), self.now);
    }

    /// Runs until nothing is left to try; what was done, one line each.
    fn run(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(effects) = self.scheduler.cycle(self.now, 0) {
            lines.extend(effects.iter().map(describe));
        }
        lines
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Bind { pod, node, .. } => format!("bind {} to {node}", pod.uid),
        Effect::Report { pod, message, nominated } => match nominated {
            Some(node) => format!("report {} {node:?}: {message}", pod.uid),
            None => format!("report {}: {message}", pod.uid),
        },
        Effect::Evict { victim, preemptor, node } => {
            format!("evict {} for {} on {node}", victim.uid, preemptor.uid)
        }
        Effect::ClearNomination(pod) => format!("clear {}", pod.uid),
    }
}

fn pod(uid: &str, cpu_milli: i64) -> PodInfo {
    let requests = Resources { cpu_milli, ..Resources::default() };
    PodInfo {
        uid: uid.into(),
        name: uid.into(),
        scheduler: NAME.into(),
        preempts: true,
        requests,
        ..PodInfo::default()
    }
}

const FULL: &str = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";

#[test]
fn a_pod_waits_for_a_node_and_goes_there() {
    let mut world = World::new();
    world.pod(pod("a", 100));
    assert_eq!(world.run(), ["report a: no nodes available to schedule pods"]);
    assert_eq!(world.run(), [""; 0], "nothing has changed");
    world.node("n1", 1000);
    assert_eq!(world.run(), ["bind a to n1"]);
    assert_eq!(world.run(), [""; 0]);
}

#[test]
fn a_pod_that_leaves_makes_room_for_one_that_waits() {
    let mut world = World::new();
    world.node("n1", 1000);
    world.pod(pod("a", 800));
    world.pod(pod("b", 800));
    assert_eq!(world.run(), ["bind a to n1".to_owned(), format!("report b: {FULL}")]);
    world.pod(PodInfo { node: Some("n1".into()), ..pod("a", 800) });
    assert_eq!(world.run(), [""; 0], "the binding confirmed is no change for others");
    world.pod(PodInfo { node: Some("n1".into()), finished: true, ..pod("a", 800) });
    assert_eq!(world.run(), ["bind b to n1"]);
}

#[test]
fn a_failed_binding_gives_back_and_is_tried_again() {
    let mut world = World::new();
    world.node("n1", 1000);
    world.pod(pod("a", 800));
    assert_eq!(world.run(), ["bind a to n1"]);
    world.scheduler.bind_failed("a", world.now);
    assert_eq!(world.run(), [""; 0], "not before its back-off is over");
    world.pod(pod("b", 800));
    assert_eq!(world.run(), ["bind b to n1"]);
    world.scheduler.remove(Gone::Pod("b".into()), world.now);
    world.now += LATER;
    assert_eq!(world.run(), ["bind a to n1"]);
}

#[test]
fn only_changes_that_matter_wake_a_pod() {
    let mut world = World::new();
    world.node("n1", 1000);
    world.pod(pod("a", 2000));
    let message = "report a: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    assert_eq!(world.run(), [message]);
    world.now += LATER;
    world.node("n1", 1000);
    world.node("n2", 1500);
    assert_eq!(world.run(), [""; 0]);
    world.node("n2", 2500);
    assert_eq!(world.run(), ["bind a to n2"]);
}

#[test]
fn an_important_pod_takes_the_place_of_a_lesser_one() {
    let mut world = World::new();
    world.node("n1", 1000);
    world.pod(pod("small", 800));
    world.run();
    world.pod(PodInfo { node: Some("n1".into()), ..pod("small", 800) });
    world.pod(PodInfo { priority: 10, ..pod("big", 800) });
    let found = "0/1 nodes are available: 1 Insufficient cpu. preemption: found a potential placement for pod on node n1, preempting 1 victims";
    assert_eq!(
        world.run(),
        ["evict small for big on n1".to_owned(), format!("report big Some(\"n1\"): {found}")]
    );
    world.now += LATER;
    world.scheduler.remove(Gone::Pod("small".into()), world.now);
    world.pod(pod("other", 800));
    let lines = world.run();
    assert_eq!(lines[0], "bind big to n1");
    assert!(lines[1].starts_with("report other:"), "{lines:?}");
}

#[test]
fn a_node_kept_free_for_a_pod_that_goes_is_free_for_others() {
    let mut world = World::new();
    world.node("n1", 1000);
    world.pod(PodInfo {
        priority: 10,
        nominated: Some("n1".into()),
        gates: vec!["g".into()],
        ..pod("big", 800)
    });
    world.pod(pod("other", 800));
    assert_eq!(world.run().len(), 1, "there is no room beside the important pod");
    world.now += LATER;
    world.scheduler.remove(Gone::Pod("big".into()), world.now);
    assert_eq!(world.run(), ["bind other to n1"]);
}

#[test]
fn pods_of_other_schedulers_and_deleted_ones_are_left_alone() {
    let mut world = World::new();
    world.node("n1", 1000);
    world.pod(PodInfo { scheduler: "other".into(), ..pod("a", 1) });
    world.pod(PodInfo { terminating: true, ..pod("b", 1) });
    world.pod(pod("c", 1));
    world.pod(PodInfo { terminating: true, ..pod("c", 1) });
    assert_eq!(world.run(), [""; 0]);
}
