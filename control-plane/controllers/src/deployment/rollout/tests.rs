//! Roll-outs from beginning to end, over a world in which only counts are left.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::deployment::scale::max_surge;

fn deployment(spec: &Value, image: &str) -> Deployment {
    let mut whole = json!({
        "replicas": 10, "selector": {"matchLabels": {"app": "web"}},
        "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1,
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image}]}},
    });
    json_patch::merge(&mut whole, spec);
    serde_json::from_value(json!({
        "metadata": {"name": "web", "uid": "d", "generation": 1}, "spec": whole,
    }))
    .unwrap()
}

/// A cluster of which only counts are left: pods come and become available as asked for.
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    now: Timestamp,
    revision: Option<String>,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        Self { deployment, sets: Vec::new(), now: Timestamp::UNIX_EPOCH, revision: None }
    }

    /// One decision carried out. Answers whether it wrote anything to a replica set.
    fn step(&mut self) -> bool {
        self.now += jiff::SignedDuration::from_secs(1);
        let decision = decide(&self.deployment, &self.sets, &HashSet::new(), self.now);
        let wrote = !decision.steps.is_empty();
        for step in decision.steps {
            match step {
                Step::Create(mut set) => {
                    set.metadata.creation_timestamp = Some(Time(self.now));
                    set.metadata.uid = set.metadata.name.clone();
                    self.sets.push(*set);
                }
                Step::Update { set, .. } => self.find(&set).clone_from(&set),
                Step::Delete(set) => {
                    self.sets.retain(|known| known.metadata.name != set.metadata.name);
                }
            }
        }
        self.deployment.status = Some(decision.status);
        self.revision = decision.revision;
        wrote
    }

    fn find(&mut self, set: &ReplicaSet) -> &mut ReplicaSet {
        let mut sets = self.sets.iter_mut();
        sets.find(|known| known.metadata.name == set.metadata.name).unwrap()
    }

    /// The replica sets do their work; one more pod of each becomes available where it can.
    fn work(&mut self, works: impl Fn(&ReplicaSet) -> bool) {
        for set in &mut self.sets {
            let size = replicas(set);
            let next =
                if works(set) { (available(set) + 1).min(size) } else { available(set).min(size) };
            let status = set.status.get_or_insert_default();
            status.replicas = size;
            status.available_replicas = Some(next);
            status.ready_replicas = Some(next);
            status.observed_generation = set.metadata.generation;
        }
    }

    fn check_bounds(&self) {
        let total: i32 = self.sets.iter().map(replicas).sum();
        let wanted = wanted(&self.deployment);
        assert!(total <= wanted + max_surge(&self.deployment), "{total} pods are too many");
    }

    fn settle(&mut self, works: impl Fn(&ReplicaSet) -> bool) {
        for _ in 0..200 {
            self.step();
            self.check_bounds();
            self.work(&works);
        }
    }

    fn sizes(&self) -> Vec<(String, i32)> {
        let image = |set: &ReplicaSet| {
            let spec = set.spec.template.as_ref().unwrap().spec.as_ref().unwrap();
            spec.containers[0].image.clone().unwrap()
        };
        let mut sizes: Vec<_> = self.sets.iter().map(|set| (image(set), replicas(set))).collect();
        sizes.sort();
        sizes
    }

    fn progress(&self) -> &str {
        super::super::conditions::progress_reason(self.deployment.status.as_ref().unwrap()).unwrap()
    }
}

fn set_image(world: &mut World, image: &str) {
    let fresh = deployment(&json!({}), image);
    world.deployment.spec.template = fresh.spec.template;
    world.deployment.metadata.generation =
        world.deployment.metadata.generation.map(|generation| generation + 1);
}

#[test]
fn a_roll_out_ends_with_the_new_template_and_never_leaves_its_bounds() {
    for strategy in [
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        json!({"type": "Recreate"}),
    ] {
        let mut world = World::new(deployment(&json!({"strategy": strategy}), "a"));
        world.settle(|_| true);
        assert_eq!(world.sizes(), [("a".into(), 10)]);
        assert_eq!(world.progress(), "NewReplicaSetAvailable");
        set_image(&mut world, "b");
        let floor = 10 - max_unavailable(&world.deployment);
        for _ in 0..200 {
            world.step();
            world.check_bounds();
            world.work(|_| true);
            let up: i32 = world.sets.iter().map(available).sum();
            assert!(up >= floor || is_recreate(&world.deployment), "{up} available: {strategy}");
        }
        assert_eq!(world.sizes(), [("a".into(), 0), ("b".into(), 10)], "{strategy}");
        assert_eq!(world.revision.as_deref(), Some("2"));
        assert!(!world.step(), "nothing is left to do: {strategy}");
    }
}

#[test]
fn a_broken_template_stops_at_the_surge_and_times_out_and_can_be_undone() {
    let mut world = World::new(deployment(&json!({}), "a"));
    world.settle(|_| true);
    set_image(&mut world, "broken");
    let good = world.sets[0].metadata.name.clone();
    world.settle(|set| set.metadata.name == good);
    assert_eq!(world.sizes(), [("a".into(), 8), ("broken".into(), 5)]);
    world.now += jiff::SignedDuration::from_secs(600);
    world.step();
    assert_eq!(world.progress(), "ProgressDeadlineExceeded");
    set_image(&mut world, "a");
    world.settle(|set| set.metadata.name == good);
    assert_eq!(world.sizes(), [("a".into(), 10), ("broken".into(), 0)]);
    assert_eq!(world.revision.as_deref(), Some("3"));
    assert_eq!(world.progress(), "NewReplicaSetAvailable");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(deployment(&json!({}), "a"));
    world.settle(|_| true);
    world.deployment.spec.paused = Some(true);
    set_image(&mut world, "b");
    world.deployment.spec.replicas = Some(4);
    world.settle(|_| true);
    assert_eq!(world.sizes(), [("a".into(), 4)]);
    assert_eq!(world.progress(), "DeploymentPaused");
}

#[test]
fn old_revisions_are_kept_up_to_the_limit() {
    let mut world = World::new(deployment(&json!({}), "a"));
    for image in ["a", "b", "c", "d"] {
        set_image(&mut world, image);
        world.settle(|_| true);
    }
    assert_eq!(world.sizes(), [("c".into(), 0), ("d".into(), 10)]);
}

#[test]
fn recreating_waits_for_the_last_old_pod() {
    let strategy = json!({"strategy": {"type": "Recreate"}});
    let mut world = World::new(deployment(&strategy, "a"));
    world.settle(|_| true);
    set_image(&mut world, "b");
    world.step();
    world.work(|_| true);
    let busy = world.sets.iter().filter_map(|set| set.metadata.uid.clone()).collect();
    let waiting = decide(&world.deployment, &world.sets, &busy, world.now);
    assert!(waiting.steps.is_empty());
    assert!(world.step(), "the old pods are gone");
    assert_eq!(world.sizes(), [("a".into(), 0), ("b".into(), 10)]);
}
