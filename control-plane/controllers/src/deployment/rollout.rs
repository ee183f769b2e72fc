//! What to do next for a deployment, given its replica sets: one step towards the template it asks
//! for, never beyond the surge and the unavailability it allows.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::conditions::{
    PROGRESSING, condition, find, mark_pause, progress_deadline, until_deadline,
};
use super::revision::{DESIRED, REVISION, make_current, note_size, number, revision};
use super::scale::{
    actual, available, is_recreate, is_saturated, max_unavailable, new_set_size, proportional,
    replicas, wanted,
};
use super::status::{counted, is_complete, rolling};
use crate::owner::controller_reference;
use crate::pod_template::{HASH_LABEL, hash, same};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Create(Box<ReplicaSet>),
    /// The set as it should be; `from` is how many replicas it asked for before.
    Update {
        set: Box<ReplicaSet>,
        from: i32,
    },
    Delete(Box<ReplicaSet>),
}

/// The writes to do, in order, and what to report after them.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) steps: Vec<Step>,
    pub(super) status: DeploymentStatus,
    /// The revision the deployment is at, when known.
    pub(super) revision: Option<String>,
    /// When to look again although nothing has changed.
    pub(super) next: Option<Duration>,
}

/// Decides for a deployment and the sets it owns. `busy` holds the uids of sets with pods that have
/// not ended.
pub(super) fn decide(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    busy: &HashSet<String>,
    now: Timestamp,
) -> Decision {
    let mut rollout = Rollout::new(deployment, sets, now);
    let status = rollout.run(busy);
    let next =
        until_deadline(deployment, &status, now).filter(|_| !is_complete(deployment, &status));
    Decision { steps: rollout.steps, status, revision: rollout.revision, next }
}

struct Rollout<'a> {
    deployment: &'a Deployment,
    /// The status so far: conditions change on the way.
    base: DeploymentStatus,
    new: Option<ReplicaSet>,
    /// Oldest first.
    old: Vec<ReplicaSet>,
    steps: Vec<Step>,
    revision: Option<String>,
    now: Timestamp,
}

impl<'a> Rollout<'a> {
    fn new(deployment: &'a Deployment, sets: &[ReplicaSet], now: Timestamp) -> Self {
        let mut old = sets.to_vec();
        old.sort_by_key(|set| {
            let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, set.metadata.name.clone())
        });
        let is_new = |set: &ReplicaSet| same(&deployment.spec.template, set.spec.template.as_ref());
        let new = old.iter().position(is_new).map(|index| old.remove(index));
        let base = deployment.status.clone().unwrap_or_default();
        Self { deployment, base, new, old, steps: Vec::new(), revision: None, now }
    }

    fn run(&mut self, busy: &HashSet<String>) -> DeploymentStatus {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return self.counted();
        }
        mark_pause(self.deployment, &mut self.base, self.now);
        self.refresh_new();
        let paused = self.deployment.spec.paused == Some(true);
        if paused || self.is_scaling() {
            self.scale_all();
            if paused {
                self.clean_up();
            }
            return self.counted();
        }
        if is_recreate(self.deployment) {
            self.recreate(busy);
        } else {
            self.roll();
        }
        self.rolling()
    }

    fn counted(&self) -> DeploymentStatus {
        counted(self.deployment, &self.base, self.new.as_ref(), &self.old, self.now)
    }

    fn rolling(&self) -> DeploymentStatus {
        rolling(self.deployment, &self.base, self.new.as_ref(), &self.old, self.now)
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(revision).max().unwrap_or_default() + 1
    }

    /// Brings the annotations of an existing new set up to date.
    fn refresh_new(&mut self) {
        let next = self.next_revision();
        let Some(set) = &mut self.new else { return };
        let before = set.clone();
        make_current(set, self.deployment, next);
        set.spec.min_ready_seconds = self.deployment.spec.min_ready_seconds;
        if *set != before {
            let from = replicas(set);
            let step = Step::Update { set: Box::new(set.clone()), from };
            self.steps.push(step);
        }
        self.revision = set.metadata.annotations.as_ref().and_then(|a| a.get(REVISION)).cloned();
        if progress_deadline(self.deployment).is_some() && find(&self.base, PROGRESSING).is_none() {
            let name = set.metadata.name.clone().unwrap_or_default();
            let message = format!("Found new replica set {name:?}");
            let found = condition(PROGRESSING, "True", "FoundNewReplicaSet", message, self.now);
            super::conditions::set(&mut self.base, found);
        }
    }

    /// Makes the set for the deployment's template, as large as there is room for.
    fn create_new(&mut self) {
        let deployment = self.deployment;
        let mut template = deployment.spec.template.clone();
        let hash = hash(&template, self.base.collision_count);
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH_LABEL.into(), hash.clone());
        let labels = labels.clone();
        let mut selector = deployment.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
        let total = self.old.iter().map(replicas).sum();
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        let mut set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(set_name(name, &hash)),
                namespace: deployment.metadata.namespace.clone(),
                owner_references: Some(vec![controller_reference(deployment)]),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: ReplicaSetSpec {
                replicas: Some(new_set_size(deployment, total, 0)),
                min_ready_seconds: deployment.spec.min_ready_seconds,
                selector,
                template: Some(template),
            },
            status: None,
        };
        let revision = self.next_revision();
        make_current(&mut set, deployment, revision);
        note_size(&mut set, deployment);
        self.revision = Some(revision.to_string());
        if progress_deadline(deployment).is_some() {
            let name = set.metadata.name.clone().unwrap_or_default();
            let message = format!("Created new replica set {name:?}");
            let created = condition(PROGRESSING, "True", "NewReplicaSetCreated", message, self.now);
            super::conditions::set(&mut self.base, created);
        }
        self.steps.push(Step::Create(Box::new(set.clone())));
        self.new = Some(set);
    }

    /// An active set was last scaled for another number of replicas than is wanted now.
    fn is_scaling(&self) -> bool {
        let active = self.old.iter().chain(&self.new).filter(|set| replicas(set) > 0);
        let wanted = i64::from(wanted(self.deployment));
        { active }.any(|set| number(set, DESIRED).is_some_and(|desired| desired != wanted))
    }

    fn scale_all(&mut self) {
        let wanted = wanted(self.deployment);
        let active = self.active();
        match active.as_slice() {
            [] => {
                let newest = self.old.len().checked_sub(1).map(Place::Old);
                let place = if self.new.is_some() { Some(Place::New) } else { newest };
                if let Some(place) = place {
                    self.resize(place, wanted);
                }
            }
            [only] => self.resize(*only, wanted),
            _ if self.new.as_ref().is_some_and(|new| is_saturated(self.deployment, new)) => {
                for place in active.into_iter().filter(|place| *place != Place::New) {
                    self.resize(place, 0);
                }
            }
            _ if !is_recreate(self.deployment) => {
                let sets: Vec<&ReplicaSet> = active.iter().map(|place| self.at(*place)).collect();
                let sizes = proportional(self.deployment, &sets);
                for (place, size) in active.into_iter().zip(sizes) {
                    self.force_resize(place, size);
                }
            }
            _ => {}
        }
    }

    fn roll(&mut self) {
        if self.new.is_none() {
            self.create_new();
        }
        if self.grow_new() || self.shrink_old() {
            return;
        }
        if is_complete(self.deployment, &self.base) {
            self.clean_up();
        }
    }

    /// Scales the new set as far as allowed; answers whether that changed it.
    fn grow_new(&mut self) -> bool {
        let total = self.old.iter().chain(&self.new).map(replicas).sum();
        let wanted = wanted(self.deployment);
        let current = self.new.as_ref().map_or(0, replicas);
        let size = match current.cmp(&wanted) {
            std::cmp::Ordering::Equal => return false,
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Less => new_set_size(self.deployment, total, current),
        };
        self.resize(Place::New, size);
        size != current
    }

    /// Scales old sets down: first what is not available anyway, then as far as enough pods stay
    /// available. Answers whether anything changed.
    fn shrink_old(&mut self) -> bool {
        let old_total: i32 = self.old.iter().map(replicas).sum();
        let Some(new) = &self.new else { return false };
        let min_available = wanted(self.deployment) - max_unavailable(self.deployment);
        let new_unavailable = replicas(new) - available(new);
        let mut room = old_total + replicas(new) - min_available - new_unavailable;
        if old_total == 0 || room <= 0 {
            return false;
        }
        let mut shrunk = 0;
        for index in 0..self.old.len() {
            let (size, healthy) = (replicas(&self.old[index]), available(&self.old[index]));
            let take = room.min(size - healthy);
            if size > 0 && take > 0 {
                self.resize(Place::Old(index), size - take);
                room -= take;
                shrunk += take;
            }
        }
        let available_total: i32 = self.old.iter().chain(&self.new).map(available).sum();
        let mut room = available_total - min_available;
        for index in 0..self.old.len() {
            let size = replicas(&self.old[index]);
            let take = room.min(size);
            if take > 0 {
                self.resize(Place::Old(index), size - take);
                room -= take;
                shrunk += take;
            }
        }
        shrunk > 0
    }

    fn recreate(&mut self, busy: &HashSet<String>) {
        let active = self.active();
        let old: Vec<Place> = active.into_iter().filter(|place| *place != Place::New).collect();
        if !old.is_empty() {
            old.into_iter().for_each(|place| self.resize(place, 0));
            return;
        }
        let runs = |set: &ReplicaSet| {
            actual(set) > 0 || set.metadata.uid.as_ref().is_some_and(|uid| busy.contains(uid))
        };
        if self.old.iter().any(runs) {
            return;
        }
        if self.new.is_none() {
            self.create_new();
        }
        self.resize(Place::New, wanted(self.deployment));
        if is_complete(self.deployment, &self.base) {
            self.clean_up();
        }
    }

    /// Deletes the oldest revisions beyond the limit, as far as they have no pods.
    fn clean_up(&mut self) {
        let Some(limit) = self.deployment.spec.revision_history_limit else { return };
        if limit == i32::MAX {
            return;
        }
        let alive = self.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none());
        let mut alive: Vec<&ReplicaSet> = alive.collect();
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        alive.sort_by_key(|set| revision(set));
        let unused = |set: &&&ReplicaSet| {
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            actual(set) == 0 && replicas(set) == 0 && set.metadata.generation <= observed
        };
        let gone = alive.iter().take(surplus).filter(unused);
        let steps = gone.map(|set| Step::Delete(Box::new((*set).clone()))).collect::<Vec<_>>();
        self.steps.extend(steps);
    }

    /// Where the sets are that ask for replicas.
    fn active(&self) -> Vec<Place> {
        let old = (0..self.old.len()).map(Place::Old);
        let places = old.chain(self.new.as_ref().map(|_| Place::New));
        places.filter(|place| replicas(self.at(*place)) > 0).collect()
    }

    fn at(&self, place: Place) -> &ReplicaSet {
        match place {
            Place::Old(index) => &self.old[index],
            Place::New => self.new.as_ref().expect("a place is only made for a set that is there"),
        }
    }

    fn resize(&mut self, place: Place, size: i32) {
        if replicas(self.at(place)) != size {
            self.force_resize(place, size);
        }
    }

    /// Sets the size and what is noted about it, if either is different.
    fn force_resize(&mut self, place: Place, size: i32) {
        let mut set = self.at(place).clone();
        let from = replicas(&set);
        set.spec.replicas = Some(size);
        note_size(&mut set, self.deployment);
        if set == *self.at(place) {
            return;
        }
        self.write(Step::Update { set: Box::new(set.clone()), from });
        match place {
            Place::Old(index) => self.old[index] = set,
            Place::New => self.new = Some(set),
        }
    }

    /// Adds a step; one that updates a set again takes the place of the one before.
    fn write(&mut self, step: Step) {
        let Step::Update { set, .. } = &step else { return self.steps.push(step) };
        for known in &mut self.steps {
            if let Step::Update { set: earlier, from: first } = known
                && earlier.metadata.name == set.metadata.name
            {
                *known = Step::Update { set: set.clone(), from: *first };
                return;
            }
        }
        self.steps.push(step);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Old(usize),
    New,
}

/// The deployment's name, shortened where that is needed to fit, and the hash.
fn set_name(deployment: &str, hash: &str) -> String {
    const LONGEST: usize = 253;
    let room = LONGEST - 1 - hash.len();
    format!("{}-{hash}", &deployment[..deployment.len().min(room)])
}

#[cfg(test)]
mod tests;
