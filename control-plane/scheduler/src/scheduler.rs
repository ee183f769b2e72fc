//! The scheduler without its edges: notices of what changed in, effects to carry out out.
//!
//! Knows no client and no clock. Whoever owns it hands in what the API server tells, asks for one
//! cycle after the other, and carries out what comes back.

use std::sync::Arc;
use std::time::Instant;

use crate::budget::Budget;
use crate::cluster::{Cluster, OwnerKind};
use crate::cycle::{Chance, Profile, schedule};
use crate::diagnosis::Diagnosis;
use crate::node::NodeInfo;
use crate::plugin::Change;
use crate::pod::PodInfo;
use crate::preemption::{Candidate, Refusal, preempt};
use crate::queue::Queue;
use crate::selector::{Labels, Selector};
use crate::volumes::{Claim, Class, Supply, Volume};

/// An object as it is now.
#[derive(Debug)]
pub enum Object {
    /// A pod.
    Pod(Arc<PodInfo>),
    /// A node.
    Node(NodeInfo),
    /// A namespace's labels.
    Namespace(String, Labels),
    /// The selector of something that owns pods: kind, namespace, name.
    Owner(OwnerKind, String, String, Selector),
    /// A persistent volume claim: namespace, name.
    Claim(String, String, Claim),
    /// A persistent volume.
    Volume(String, Volume),
    /// A storage class.
    Class(String, Class),
    /// A disruption budget: namespace, name.
    Budget(String, String, Budget),
}

/// An object that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A pod, by uid.
    Pod(String),
    /// A node.
    Node(String),
    /// A namespace.
    Namespace(String),
    /// Something that owns pods: kind, namespace, name.
    Owner(OwnerKind, String, String),
    /// A persistent volume claim: namespace, name.
    Claim(String, String),
    /// A persistent volume.
    Volume(String),
    /// A storage class.
    Class(String),
    /// A disruption budget: namespace, name.
    Budget(String, String),
}

/// What is to be done after a cycle.
#[derive(Debug)]
pub enum Effect {
    /// Bind the pod to the node, once the claims that wait for it have their volumes.
    Bind {
        /// The pod.
        pod: Arc<PodInfo>,
        /// The node.
        node: String,
        /// Names of claims and how each gets its volume.
        supplies: Vec<(String, Supply)>,
    },
    /// Tell that the pod does not fit.
    Report {
        /// The pod.
        pod: Arc<PodInfo>,
        /// In upstream's words.
        message: String,
        /// The node that is being made free for it; `Some(None)` to take that back, `None` to leave
        /// it as it is.
        nominated: Option<Option<String>>,
    },
    /// Make a pod go so that a more important one fits.
    Evict {
        /// Who goes.
        victim: Arc<PodInfo>,
        /// For whom.
        preemptor: Arc<PodInfo>,
        /// Where.
        node: String,
    },
    /// Tell that no node is being made free for the pod any more.
    ClearNomination(Arc<PodInfo>),
}

/// The scheduler.
pub struct Scheduler {
    name: String,
    profile: Profile,
    cluster: Cluster,
    queue: Queue,
    cycles: usize,
}

impl Scheduler {
    /// A scheduler for the pods that name it in `spec.schedulerName`.
    pub fn new(name: impl Into<String>, profile: Profile) -> Self {
        Self {
            name: name.into(),
            profile,
            cluster: Cluster::default(),
            queue: Queue::default(),
            cycles: 0,
        }
    }

    /// What it knows of the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The pods that wait.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Takes an object that came or changed.
    pub fn set(&mut self, object: Object, now: Instant) {
        match object {
            Object::Pod(pod) => self.set_pod(pod, now),
            Object::Node(node) => self.set_node(node, now),
            Object::Namespace(name, labels) => {
                self.cluster.set_namespace(name, Some(labels));
                self.notice(&Change::Namespace, now);
            }
            Object::Owner(kind, namespace, name, selector) => {
                self.cluster.set_owner(kind, namespace, name, Some(selector));
            }
            Object::Claim(namespace, name, claim) => {
                self.cluster.volumes.set_claim(namespace, name, Some(claim));
                self.notice(&Change::Volumes, now);
            }
            Object::Volume(name, volume) => {
                self.cluster.volumes.set_volume(name, Some(volume));
                self.notice(&Change::Volumes, now);
            }
            Object::Class(name, class) => {
                self.cluster.volumes.set_class(name, Some(class));
                self.notice(&Change::Volumes, now);
            }
            Object::Budget(namespace, name, budget) => {
                self.cluster.budgets.set(namespace, name, Some(budget));
            }
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, gone: Gone, now: Instant) {
        match gone {
            Gone::Pod(uid) => {
                self.queue.remove(&uid);
                self.leave(&uid, now);
            }
            Gone::Node(name) => self.cluster.remove_node(&name),
            Gone::Namespace(name) => self.cluster.set_namespace(name, None),
            Gone::Owner(kind, namespace, name) => {
                self.cluster.set_owner(kind, namespace, name, None);
            }
            Gone::Claim(namespace, name) => self.cluster.volumes.set_claim(namespace, name, None),
            Gone::Volume(name) => self.cluster.volumes.set_volume(name, None),
            Gone::Class(name) => self.cluster.volumes.set_class(name, None),
            Gone::Budget(namespace, name) => self.cluster.budgets.set(namespace, name, None),
        }
    }

    /// A pod could not be bound: it gives back what it took and is tried again later.
    pub fn bind_failed(&mut self, uid: &str, now: Instant) {
        if let Some(pod) = self.cluster.forget(uid) {
            self.notice(&Change::PodGone(&pod), now);
        }
        self.queue.retry(uid, now);
    }

    fn set_node(&mut self, node: NodeInfo, now: Instant) {
        let name = node.name.clone();
        let before = self.cluster.set_node(node);
        let Some(now_is) = self.cluster.node(&name) else { return };
        if before.as_ref().is_some_and(|before| before.offers_same(now_is)) {
            return;
        }
        let change = Change::Node { now: now_is, before: before.as_ref() };
        notify(&mut self.queue, &self.profile, &change, now);
    }

    fn set_pod(&mut self, pod: Arc<PodInfo>, now: Instant) {
        if pod.finished {
            self.queue.remove(&pod.uid);
            self.leave(&pod.uid, now);
        } else if pod.node.is_some() {
            self.queue.remove(&pod.uid);
            let earlier = self.cluster.set_pod(pod.clone());
            match earlier {
                Some(earlier) if earlier.requests != pod.requests => {
                    self.notice(&Change::PodGone(&earlier), now);
                }
                Some(earlier) if earlier.labels == pod.labels => {}
                _ => self.notice(&Change::PodPlaced(&pod), now),
            }
        } else if pod.terminating {
            self.queue.remove(&pod.uid);
            self.leave(&pod.uid, now);
        } else if pod.scheduler == self.name {
            if let Some(node) = &pod.nominated {
                self.cluster.nominate(pod.clone(), node);
            }
            self.queue.set(pod);
        }
    }

    /// A pod leaves its node, or the node that was being made free for it.
    fn leave(&mut self, uid: &str, now: Instant) {
        let waited = self.cluster.clear_nomination(uid);
        if let Some(pod) = self.cluster.remove_pod(uid).or(waited) {
            self.notice(&Change::PodGone(&pod), now);
        }
    }

    fn notice(&mut self, change: &Change<'_>, now: Instant) {
        notify(&mut self.queue, &self.profile, change, now);
    }

    /// Tries the pod whose turn it is. `None` if there is none; else what is to be done.
    pub fn cycle(&mut self, now: Instant, pick: usize) -> Option<Vec<Effect>> {
        let waiting = self.queue.pop(now)?;
        let pod = waiting.pod;
        self.cycles = self.cycles.wrapping_add(1);
        let chance = Chance { start: self.cycles, pick };
        Some(match schedule(&self.profile, &pod, &self.cluster, chance) {
            Ok(node) => vec![self.place(pod, node)],
            Err(diagnosis) => self.reject(pod, *diagnosis, now),
        })
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: String) -> Effect {
        let volumes = &self.cluster.volumes;
        let labels = self.cluster.node(&node).map(|node| &node.labels);
        let supply = |name: &String| {
            let claim = volumes.claim(&pod.namespace, name).filter(|claim| volumes.waits(claim));
            claim?;
            Some((name.clone(), volumes.supply(&pod.namespace, name, &node, labels?)?))
        };
        let supplies = pod.claims.iter().filter_map(supply).collect();
        self.cluster.assume(pod.clone(), &node);
        Effect::Bind { pod, node, supplies }
    }

    fn reject(&mut self, pod: Arc<PodInfo>, mut diagnosis: Diagnosis, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut nominated = None;
        if diagnosis.nodes > 0 {
            diagnosis.preemption =
                Some(match preempt(&self.profile, &pod, &self.cluster, &diagnosis) {
                    Ok(candidate) => {
                        effects = self.make_room(&pod, &candidate);
                        nominated = Some(Some(candidate.node.clone()));
                        candidate.message()
                    }
                    Err(Refusal { message, keep }) => {
                        if !keep {
                            self.cluster.clear_nomination(&pod.uid);
                            nominated = pod.nominated.is_some().then_some(None);
                        }
                        message
                    }
                });
        }
        self.queue.park(&pod.uid, diagnosis.plugins(), now);
        effects.push(Effect::Report { pod, message: diagnosis.to_string(), nominated });
        effects
    }

    /// Sends the victims away and keeps their place for the pod; less important pods that waited
    /// for the same node look elsewhere.
    fn make_room(&mut self, pod: &Arc<PodInfo>, candidate: &Candidate) -> Vec<Effect> {
        let node = &candidate.node;
        let lesser =
            self.cluster.nominated(node).iter().filter(|other| other.priority < pod.priority);
        let lesser: Vec<_> = lesser.cloned().collect();
        for other in &lesser {
            self.cluster.clear_nomination(&other.uid);
        }
        self.cluster.nominate(pod.clone(), node);
        let evict = |victim: &Arc<PodInfo>| Effect::Evict {
            victim: victim.clone(),
            preemptor: pod.clone(),
            node: node.clone(),
        };
        let going = candidate.victims.iter().filter(|victim| !victim.terminating).map(evict);
        going.chain(lesser.into_iter().map(Effect::ClearNomination)).collect()
    }
}

/// Moves the parked pods that a change may help. A pod that no plugin rejected (there were no nodes
/// at all) is helped by anything.
fn notify(queue: &mut Queue, profile: &Profile, change: &Change<'_>, now: Instant) {
    queue.move_if(now, |waiting| {
        waiting.rejected_by.is_empty()
            || profile.may_help(&waiting.rejected_by, &waiting.pod, change)
    });
}

#[cfg(test)]
mod tests;
