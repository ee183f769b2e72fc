//! Which probes run: those of containers that run, from their start to their end.

use std::collections::HashMap;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Worker;
use crate::observe::Container;
use crate::probe::{self, Target, Verdict};
use crate::role;

/// The probes under way, by container id.
pub(super) struct Probes {
    verdicts: mpsc::Sender<Verdict>,
    running: HashMap<String, Running>,
}

struct Running {
    started: watch::Sender<bool>,
    /// Dropped with the container, which ends them.
    _tasks: JoinSet<()>,
}

impl Probes {
    pub(super) fn new(verdicts: mpsc::Sender<Verdict>) -> Self {
        Self { verdicts, running: HashMap::new() }
    }
}

impl Worker {
    /// Starts and ends probes so that they fit what runs.
    pub(super) fn sync_probes(&mut self) {
        let wanted: Vec<Container> = self
            .observed
            .running()
            .filter(|container| self.memory.jobs.starting.as_deref() != Some(&*container.name))
            .filter(|container| !self.memory.jobs.stopping.contains_key(&container.id))
            .cloned()
            .collect();
        self.probes.running.retain(|id, _| wanted.iter().any(|container| container.id == *id));
        for container in &wanted {
            if !self.probes.running.contains_key(&container.id) {
                self.begin(container);
            }
            let startup = self.memory.verdicts.get(&container.id).and_then(|v| v.startup);
            if let Some(running) = self.probes.running.get(&container.id)
                && startup == Some(true)
            {
                running.started.send_replace(true);
            }
        }
    }

    fn begin(&mut self, container: &Container) {
        let members = role::all(&self.pod);
        let Some(member) = members.into_iter().find(|m| m.name() == container.name) else { return };
        let mut probes = probe::of(&member.container);
        let startup = self.memory.verdicts.get(&container.id).and_then(|v| v.startup);
        if startup.is_some() {
            probes.retain(|(purpose, _)| *purpose != probe::Purpose::Startup);
        }
        let (started, _) = watch::channel(member.container.startup_probe.is_none());
        let of_pod = self.observed.current().and_then(|s| s.addresses.first().copied());
        let target = Target {
            pod: self.pod.clone(),
            container: member.container,
            id: container.id.clone(),
            address: of_pod.or(self.kubelet.config.node_ips.first().copied()),
            started_at: container.started_at,
        };
        let mut tasks = JoinSet::new();
        for (purpose, probe) in probes {
            let (kubelet, target) = (self.kubelet.clone(), target.clone());
            let (started, verdicts) = (started.subscribe(), self.probes.verdicts.clone());
            tasks.spawn(probe::run(kubelet, target, purpose, probe, started, verdicts));
        }
        self.probes.running.insert(container.id.clone(), Running { started, _tasks: tasks });
    }
}
