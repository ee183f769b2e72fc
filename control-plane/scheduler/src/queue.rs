//! The pods that wait for a node: those whose turn it is, those that wait a little after a failure,
//! and those that nothing has changed for yet.
//!
//! Knows no clock: what depends on time takes the time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pod::PodInfo;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A pod is tried again after this long, even if nothing seems to have changed for it.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// A pod in the queue.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The pod as it was last seen.
    pub pod: Arc<PodInfo>,
    /// How often it was tried.
    pub attempts: u32,
    /// The plugins that rejected it last.
    pub rejected_by: BTreeSet<&'static str>,
    /// When it came, for taking turns among equals.
    order: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its turn comes by priority.
    Active,
    /// Its turn comes at this moment, or sooner if nothing else is to do and it did not fail
    /// through an error.
    Backoff { until: Instant, error: bool },
    /// It waits for a change, at most until this moment.
    Parked { until: Instant },
    /// It may not be scheduled yet.
    Gated,
    /// It is being tried.
    Tried,
}

/// The turn of a pod: by priority, then by age.
type Turn = (Reverse<i32>, u64, String);

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<String, Waiting>,
    active: BTreeSet<Turn>,
    backoff: BTreeSet<(Instant, String)>,
    parked: BTreeSet<(Instant, String)>,
    next_order: u64,
}

fn turn(waiting: &Waiting) -> Turn {
    (Reverse(waiting.pod.priority), waiting.order, waiting.pod.uid.clone())
}

fn backoff(attempts: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

impl Queue {
    /// Takes a pod that needs a node, new or changed. A change of what it asks for makes it active
    /// again; a change of its status alone does not.
    pub fn set(&mut self, pod: Arc<PodInfo>) {
        let uid = pod.uid.clone();
        let gated = !pod.gates.is_empty();
        let Some(waiting) = self.pods.get(&uid) else {
            let order = self.next_order;
            self.next_order += 1;
            let waiting = Waiting {
                pod,
                attempts: 0,
                rejected_by: BTreeSet::new(),
                order,
                place: Place::Gated,
            };
            self.pods.insert(uid.clone(), waiting);
            if !gated {
                self.activate(&uid);
            }
            return;
        };
        let changed = wants(&waiting.pod) != wants(&pod);
        let place = waiting.place;
        self.lift(&uid);
        if let Some(waiting) = self.pods.get_mut(&uid) {
            waiting.pod = pod;
        }
        match place {
            _ if gated => self.put(&uid, Place::Gated),
            Place::Gated => self.activate(&uid),
            Place::Parked { .. } if changed => self.activate(&uid),
            place => self.put(&uid, place),
        }
    }

    /// Forgets a pod that is gone or has a node.
    pub fn remove(&mut self, uid: &str) -> Option<Waiting> {
        self.lift(uid);
        self.pods.remove(uid)
    }

    /// The pod whose turn it is. It stays known until it is removed or given back.
    pub fn pop(&mut self, now: Instant) -> Option<Waiting> {
        self.wake(now);
        let uid = match self.active.first() {
            Some((_, _, uid)) => uid.clone(),
            None => self.soonest()?,
        };
        self.lift(&uid);
        let waiting = self.pods.get_mut(&uid)?;
        waiting.attempts += 1;
        waiting.place = Place::Tried;
        Some(waiting.clone())
    }

    /// Nothing else is to do: the first of those that wait without having failed by an error.
    fn soonest(&self) -> Option<String> {
        let patient = |uid: &&String| {
            self.pods
                .get(*uid)
                .is_some_and(|w| matches!(w.place, Place::Backoff { error: false, .. }))
        };
        self.backoff.iter().map(|(_, uid)| uid).find(patient).cloned()
    }

    /// Gives back a pod that did not fit: it waits until a change may help.
    pub fn park(&mut self, uid: &str, rejected_by: BTreeSet<&'static str>, now: Instant) {
        if let Some(waiting) =
            self.pods.get_mut(uid).filter(|waiting| waiting.place == Place::Tried)
        {
            waiting.rejected_by = rejected_by;
            self.put(uid, Place::Parked { until: now + LONGEST_WAIT });
        }
    }

    /// Gives back a pod that could not be bound: it is tried again after a while.
    pub fn retry(&mut self, uid: &str, now: Instant) {
        if let Some(waiting) =
            self.pods.get_mut(uid).filter(|waiting| waiting.place == Place::Tried)
        {
            let until = now + backoff(waiting.attempts);
            self.put(uid, Place::Backoff { until, error: true });
        }
    }

    /// Moves the parked pods that a change may help; each after its back-off.
    pub fn move_if(&mut self, now: Instant, mut helps: impl FnMut(&Waiting) -> bool) {
        let parked = self.parked.iter().map(|(_, uid)| uid);
        let helped: Vec<_> =
            parked.filter(|uid| self.pods.get(*uid).is_some_and(&mut helps)).cloned().collect();
        for uid in helped {
            self.move_one(&uid, now);
        }
    }

    fn move_one(&mut self, uid: &str, now: Instant) {
        let Some(waiting) = self.pods.get(uid) else { return };
        let Place::Parked { until } = waiting.place else { return };
        // Parked for LONGEST_WAIT from the moment it failed.
        let failed = until - LONGEST_WAIT;
        let until = failed + backoff(waiting.attempts);
        self.lift(uid);
        if until <= now {
            self.activate(uid);
        } else {
            self.put(uid, Place::Backoff { until, error: false });
        }
    }

    /// Makes active whose back-off is over, and who has waited too long.
    fn wake(&mut self, now: Instant) {
        let due = |set: &BTreeSet<(Instant, String)>| {
            set.first().filter(|(until, _)| *until <= now).cloned()
        };
        while let Some((_, uid)) = due(&self.backoff).or_else(|| due(&self.parked)) {
            self.lift(&uid);
            self.activate(&uid);
        }
    }

    /// When to look again, if nothing happens before.
    pub fn next_wake(&self) -> Option<Instant> {
        let soonest = |set: &BTreeSet<(Instant, String)>| set.first().map(|(until, _)| *until);
        soonest(&self.parked).into_iter().chain(soonest(&self.backoff)).min()
    }

    /// A pod that is waiting or being tried.
    pub fn get(&self, uid: &str) -> Option<&Waiting> {
        self.pods.get(uid)
    }

    /// How many are active, in back-off, and parked or gated.
    pub fn counts(&self) -> (usize, usize, usize) {
        let resting = |w: &&Waiting| matches!(w.place, Place::Parked { .. } | Place::Gated);
        (self.active.len(), self.backoff.len(), self.pods.values().filter(resting).count())
    }

    fn activate(&mut self, uid: &str) {
        self.put(uid, Place::Active);
    }

    fn put(&mut self, uid: &str, place: Place) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        waiting.place = place;
        match place {
            Place::Active => {
                self.active.insert(turn(waiting));
            }
            Place::Backoff { until, .. } => {
                self.backoff.insert((until, uid.to_owned()));
            }
            Place::Parked { until } => {
                self.parked.insert((until, uid.to_owned()));
            }
            Place::Gated | Place::Tried => {}
        }
    }

    /// Takes a pod out of the orders it stands in.
    fn lift(&mut self, uid: &str) {
        let Some(waiting) = self.pods.get(uid) else { return };
        match waiting.place {
            Place::Active => {
                self.active.remove(&turn(waiting));
            }
            Place::Backoff { until, .. } => {
                self.backoff.remove(&(until, uid.to_owned()));
            }
            Place::Parked { until } => {
                self.parked.remove(&(until, uid.to_owned()));
            }
            Place::Gated | Place::Tried => {}
        }
    }
}

/// The pod without what the scheduler itself and others report about it.
fn wants(pod: &PodInfo) -> PodInfo {
    PodInfo { unscheduled: None, nominated: None, started: None, generation: None, ..pod.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, priority: i32) -> Arc<PodInfo> {
        Arc::new(PodInfo { uid: uid.into(), priority, ..PodInfo::default() })
    }

    fn popped(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.pop(now).map(|waiting| waiting.pod.uid.clone())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_go_by_priority_and_then_by_age() {
        let mut queue = Queue::default();
        for (uid, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.set(pod(uid, priority));
        }
        let now = Instant::now();
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue, now)).collect();
        assert_eq!(order, ["b", "d", "a", "c"]);
    }

    #[test]
    fn a_parked_pod_waits_for_a_change_and_its_back_off() {
        let mut queue = Queue::default();
        let start = Instant::now();
        queue.set(pod("a", 0));
        queue.set(pod("b", 0));
        assert_eq!(popped(&mut queue, start).as_deref(), Some("a"));
        queue.park("a", BTreeSet::from(["Fit"]), start);
        assert_eq!(popped(&mut queue, start).as_deref(), Some("b"));
        assert_eq!(popped(&mut queue, start + SECOND), None, "nothing changed");

        queue.move_if(start, |waiting| waiting.rejected_by.contains("Other"));
        assert_eq!(queue.counts(), (0, 0, 1));
        queue.move_if(start, |waiting| waiting.rejected_by.contains("Fit"));
        assert_eq!(queue.counts(), (0, 1, 0));
        assert_eq!(queue.next_wake(), Some(start + SECOND));
        assert_eq!(popped(&mut queue, start).as_deref(), Some("a"), "nothing else is to do");
    }

    #[test]
    fn an_error_waits_out_its_back_off_which_grows() {
        let mut queue = Queue::default();
        let mut now = Instant::now();
        queue.set(pod("a", 0));
        for seconds in [1, 2, 4, 8, 10, 10] {
            assert_eq!(popped(&mut queue, now).as_deref(), Some("a"));
            queue.retry("a", now);
            now += Duration::from_secs(seconds) - Duration::from_millis(1);
            assert_eq!(popped(&mut queue, now), None, "{seconds}");
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn after_long_enough_a_pod_is_tried_anyway() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.set(pod("a", 0));
        queue.pop(now);
        queue.park("a", BTreeSet::new(), now);
        assert_eq!(popped(&mut queue, now + LONGEST_WAIT - SECOND), None);
        assert_eq!(popped(&mut queue, now + LONGEST_WAIT).as_deref(), Some("a"));
    }

    #[test]
    fn gates_hold_a_pod_until_the_last_is_lifted() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let gated = |gates: &[&str]| {
            let gates = gates.iter().map(ToString::to_string).collect();
            Arc::new(PodInfo { uid: "a".into(), gates, ..PodInfo::default() })
        };
        queue.set(gated(&["x", "y"]));
        queue.set(gated(&["y"]));
        queue.move_if(now, |_| true);
        assert_eq!(popped(&mut queue, now + LONGEST_WAIT), None);
        queue.set(gated(&[]));
        assert_eq!(popped(&mut queue, now).as_deref(), Some("a"));
    }

    #[test]
    fn only_what_a_pod_asks_for_wakes_it() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.set(pod("a", 0));
        queue.pop(now);
        queue.park("a", BTreeSet::new(), now);
        queue.set(Arc::new(PodInfo {
            unscheduled: Some(("Unschedulable".into(), "m".into())),
            ..(*pod("a", 0)).clone()
        }));
        assert_eq!(popped(&mut queue, now), None);
        queue.set(Arc::new(PodInfo {
            labels: [("a".to_owned(), "b".to_owned())].into(),
            ..(*pod("a", 0)).clone()
        }));
        assert_eq!(popped(&mut queue, now).as_deref(), Some("a"));
    }

    #[test]
    fn a_removed_pod_leaves_no_trace() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.set(pod("a", 0));
        queue.remove("a");
        assert_eq!(popped(&mut queue, now), None);
        queue.set(pod("a", 0));
        queue.pop(now);
        queue.remove("a");
        queue.park("a", BTreeSet::new(), now);
        assert_eq!(queue.counts(), (0, 0, 0));
        assert_eq!(queue.next_wake(), None);
    }
}
