//! Asking containers how they are: one small task per probe, ended with its container.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::{mpsc, watch};

use crate::events::{Kind, container_field};
use crate::kubelet::Kubelet;

pub(crate) mod ask;
mod count;
pub(crate) mod http;
mod http_trust;

pub(crate) use count::Count;

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Startup,
    Readiness,
    Liveness,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// A verdict that counts.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) container: String,
    pub(crate) purpose: Purpose,
    pub(crate) good: bool,
}

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) pod: Arc<Pod>,
    pub(crate) container: Container,
    pub(crate) id: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) started_at: Option<Timestamp>,
}

/// The probes of a container.
pub(crate) fn of(container: &Container) -> Vec<(Purpose, Probe)> {
    let all = [
        (Purpose::Startup, &container.startup_probe),
        (Purpose::Readiness, &container.readiness_probe),
        (Purpose::Liveness, &container.liveness_probe),
    ];
    all.into_iter().filter_map(|(purpose, probe)| Some((purpose, probe.clone()?))).collect()
}

/// Asks again and again, until dropped. Readiness and liveness wait until `started` says true; a
/// liveness or startup probe that has failed, and a startup probe that has succeeded, is done.
pub(crate) async fn run(
    kubelet: Arc<Kubelet>,
    target: Target,
    purpose: Purpose,
    probe: Probe,
    mut started: watch::Receiver<bool>,
    verdicts: mpsc::Sender<Verdict>,
) {
    if purpose != Purpose::Startup && started.wait_for(|started| *started).await.is_err() {
        return;
    }
    let delay = seconds(probe.initial_delay_seconds, 0);
    let age = target.started_at.map_or(Duration::ZERO, |since| {
        Timestamp::now().duration_since(since).try_into().unwrap_or_default()
    });
    tokio::time::sleep(delay.saturating_sub(age)).await;
    let mut ticks = tokio::time::interval(seconds(probe.period_seconds, 10));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = Count::new(&probe);
    let limit = seconds(probe.timeout_seconds, 1);
    loop {
        ticks.tick().await;
        let outcome = ask::ask(&kubelet, &target, &probe, limit).await;
        if let Err(output) = &outcome {
            let message = format!("{} probe failed: {output}", purpose.name());
            let field = container_field(&target.pod, &target.container.name);
            kubelet.events.pod(&target.pod, field, Kind::Warning, "Unhealthy", message);
        }
        let Some(good) = count.add(outcome.is_ok()) else { continue };
        let verdict = Verdict { container: target.id.clone(), purpose, good };
        if verdicts.send(verdict).await.is_err() {
            return;
        }
        let settled = match purpose {
            Purpose::Startup => true,
            Purpose::Liveness => !good,
            Purpose::Readiness => false,
        };
        if settled {
            return;
        }
    }
}

fn seconds(value: Option<i32>, otherwise: u64) -> Duration {
    let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    Duration::from_secs(value.unwrap_or(otherwise))
}
