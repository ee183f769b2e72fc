//! When the node runs low: it says so, and ends the pod that it owes least, before the kernel ends
//! whichever it likes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::Kind;
use crate::identity::PodId;
use crate::kubelet::Kubelet;
use crate::machine;
use crate::memory::Doom;
use crate::pods::Known;
use crate::qos::Class;
use crate::resources::Amounts;

const LOOK: Duration = Duration::from_secs(10);
/// Below this much available memory somebody has to go.
const LEAST_MEMORY_BYTES: i64 = 100 << 20;
/// Below this much free disk the node says that it is full. Not a share: a tenth of a large disk that
/// others fill as well is room enough.
const LEAST_DISK_BYTES: u64 = 1 << 30;

/// What the node is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
}

/// A pod that could be ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) uid: String,
    pub(crate) priority: i32,
    pub(crate) request_bytes: i64,
    pub(crate) used_bytes: i64,
}

/// Who goes first: a pod that uses more than it asked for, the least important of those, the one that
/// exceeds its request most.
pub(crate) fn choose(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().max_by_key(|one| {
        let excess = one.used_bytes - one.request_bytes;
        (excess > 0, Reverse(one.priority), excess)
    })
}

/// Looks until the kubelet stops; `victims` takes the pods to end.
pub(crate) async fn run(
    kubelet: Arc<Kubelet>,
    known: Known,
    victims: mpsc::Sender<(String, Doom)>,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let available = machine::available_memory_bytes();
        let pressure = Pressure {
            memory: available < LEAST_MEMORY_BYTES,
            disk: machine::free_disk_bytes(&kubelet.config.root) < LEAST_DISK_BYTES,
        };
        *kubelet.pressure.write() = pressure;
        if pressure.memory
            && let Some((uid, doom)) = victim(&kubelet, &known, available).await
            && victims.send((uid, doom)).await.is_err()
        {
            return;
        }
    }
}

async fn victim(kubelet: &Kubelet, known: &Known, available: i64) -> Option<(String, Doom)> {
    let mut used: HashMap<String, i64> = HashMap::new();
    for stats in kubelet.runtime.list_container_stats().await.ok()? {
        let Some(pod) = stats.attributes.as_ref().and_then(|a| PodId::from_labels(&a.labels))
        else {
            continue;
        };
        let bytes = stats.memory.and_then(|memory| memory.working_set_bytes).map_or(0, |b| b.value);
        *used.entry(pod.uid).or_default() += i64::try_from(bytes).unwrap_or(i64::MAX);
    }
    let pods: Vec<Arc<Pod>> = known.read().values().cloned().collect();
    let candidates: Vec<Candidate> = pods.iter().filter_map(|pod| candidate(pod, &used)).collect();
    let chosen = choose(&candidates)?;
    let pod = pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(&chosen.uid))?;
    let message = format!(
        "The node was low on resource: memory. Threshold quantity: {}Mi, available: {}Ki. ",
        LEAST_MEMORY_BYTES >> 20,
        available >> 10
    );
    tracing::warn!(pod = pod.metadata.name, message, "evicting a pod");
    kubelet.events.pod(pod, None, Kind::Warning, "Evicted", message.clone());
    Some((chosen.uid.clone(), Doom { reason: "Evicted".into(), message }))
}

/// Pods that still run and were not promised their memory.
fn candidate(pod: &Pod, used: &HashMap<String, i64>) -> Option<Candidate> {
    let uid = pod.metadata.uid.clone()?;
    let used_bytes = used.get(&uid).copied()?;
    let running = pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
    let guaranteed = Class::of(pod) == Class::Guaranteed;
    (running && !guaranteed && pod.metadata.deletion_timestamp.is_none()).then(|| Candidate {
        uid,
        priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
        request_bytes: Amounts::of_pod(pod).memory_request_bytes,
        used_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_first() {
        let one = |uid: &str, priority, request_bytes, used_bytes| Candidate {
            uid: uid.into(),
            priority,
            request_bytes,
            used_bytes,
        };
        for (case, candidates, expected) in [
            ("nobody", vec![], None),
            ("the largest excess", vec![one("a", 0, 0, 5), one("b", 0, 0, 9)], Some("b")),
            ("the less important", vec![one("a", 0, 0, 5), one("b", 10, 0, 9)], Some("a")),
            ("not one within its request", vec![one("a", 0, 10, 9), one("b", 10, 0, 1)], Some("b")),
            ("unless there is no other", vec![one("a", 5, 10, 9), one("b", 0, 10, 1)], Some("b")),
        ] {
            let chosen = choose(&candidates).map(|chosen| chosen.uid.as_str());
            assert_eq!(chosen, expected, "{case}");
        }
    }
}
