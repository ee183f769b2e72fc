//! Measurements: `/stats/summary`, `/metrics/resource` and the kubelet's own `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write;

use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};
use skep_cri::v1::ContainerStats;

use super::Server;
use super::answer::{self, Answer, Refusal};
use crate::identity::{self, PodId};

/// What one container uses.
struct Use {
    pod: PodId,
    name: String,
    cpu_ns: u64,
    cpu_nanocores: Option<u64>,
    memory_bytes: u64,
    disk_bytes: u64,
    at: Timestamp,
}

fn of(stats: &ContainerStats) -> Option<Use> {
    let attributes = stats.attributes.as_ref()?;
    let pod = PodId::from_labels(&attributes.labels)?;
    let name = attributes.labels.get(identity::CONTAINER_NAME)?.clone();
    let cpu = stats.cpu.as_ref();
    let value = |value: Option<&skep_cri::v1::UInt64Value>| value.map(|value| value.value);
    Some(Use {
        pod,
        name,
        cpu_ns: value(cpu.and_then(|cpu| cpu.usage_core_nano_seconds.as_ref())).unwrap_or(0),
        cpu_nanocores: value(cpu.and_then(|cpu| cpu.usage_nano_cores.as_ref())),
        memory_bytes: value(stats.memory.as_ref().and_then(|m| m.working_set_bytes.as_ref()))
            .unwrap_or(0),
        disk_bytes: value(stats.writable_layer.as_ref().and_then(|l| l.used_bytes.as_ref()))
            .unwrap_or(0),
        at: cpu
            .and_then(|cpu| Timestamp::from_nanosecond(cpu.timestamp.into()).ok())
            .unwrap_or_else(Timestamp::now),
    })
}

impl Server {
    async fn uses(&self) -> Result<Vec<Use>, Refusal> {
        let stats = self.kubelet.runtime.list_container_stats().await;
        let stats = stats.map_err(|error| Refusal::internal(error.to_string()))?;
        let mut uses: Vec<Use> = stats.iter().filter_map(of).collect();
        uses.sort_by(|a, b| (&a.pod, &a.name).cmp(&(&b.pod, &b.name)));
        Ok(uses)
    }

    pub(super) async fn stats_summary(&self) -> Result<Response<Answer>, Refusal> {
        let uses = self.uses().await?;
        let now = Timestamp::now();
        let mut pods: BTreeMap<&PodId, Vec<Value>> = BTreeMap::new();
        for one in &uses {
            pods.entry(&one.pod).or_default().push(json!({
                "name": one.name,
                "startTime": one.at.to_string(),
                "cpu": {"time": one.at.to_string(), "usageCoreNanoSeconds": one.cpu_ns,
                        "usageNanoCores": one.cpu_nanocores},
                "memory": {"time": one.at.to_string(), "workingSetBytes": one.memory_bytes},
                "rootfs": {"time": one.at.to_string(), "usedBytes": one.disk_bytes},
            }));
        }
        let pods: Vec<Value> = pods
            .into_iter()
            .map(|(pod, containers)| {
                json!({
                    "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                    "startTime": now.to_string(),
                    "containers": containers,
                })
            })
            .collect();
        let (cpu_ns, memory_bytes) = node_use();
        let node = json!({
            "nodeName": self.kubelet.config.node_name,
            "startTime": now.to_string(),
            "cpu": {"time": now.to_string(), "usageCoreNanoSeconds": cpu_ns},
            "memory": {"time": now.to_string(), "workingSetBytes": memory_bytes,
                       "availableBytes": self.kubelet.machine.memory_bytes.saturating_sub(memory_bytes)},
        });
        Ok(answer::json(json!({"node": node, "pods": pods}).to_string()))
    }

    pub(super) async fn resource_metrics(&self) -> Result<Response<Answer>, Refusal> {
        let uses = self.uses().await?;
        let mut out = String::new();
        let help = |out: &mut String, name: &str, kind: &str, text: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} [STABLE] {text}\n# TYPE {name} {kind}");
        };
        let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
        let labels = |one: &Use| {
            format!(
                "container={:?},namespace={:?},pod={:?}",
                one.name, one.pod.namespace, one.pod.name
            )
        };
        help(
            &mut out,
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
        );
        for one in &uses {
            let (labels, value) = (labels(one), seconds(one.cpu_ns));
            let at = one.at.as_millisecond();
            let _ = writeln!(out, "container_cpu_usage_seconds_total{{{labels}}} {value} {at}");
        }
        help(
            &mut out,
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set of the container in bytes",
        );
        for one in &uses {
            let (labels, value) = (labels(one), one.memory_bytes);
            let at = one.at.as_millisecond();
            let _ = writeln!(out, "container_memory_working_set_bytes{{{labels}}} {value} {at}");
        }
        let (cpu_ns, memory_bytes) = node_use();
        help(
            &mut out,
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
        );
        let _ = writeln!(out, "node_cpu_usage_seconds_total {}", seconds(cpu_ns));
        help(
            &mut out,
            "node_memory_working_set_bytes",
            "gauge",
            "Current working set of the node in bytes",
        );
        let _ = writeln!(out, "node_memory_working_set_bytes {memory_bytes}");
        Ok(answer::metrics(out))
    }

    pub(super) fn metrics(&self) -> Response<Answer> {
        let pods = self.known.read().len();
        answer::metrics(format!(
            "# HELP kubelet_running_pods [BETA] Number of pods that have a running pod sandbox\n\
             # TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n"
        ))
    }
}

/// The node's processor time and used memory, as the kernel counts them.
fn node_use() -> (u64, i64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    (cpu_ns(&stat), used_bytes(&meminfo))
}

/// User, nice, system, irq, softirq, steal: all but idling. The kernel counts hundredths of seconds.
fn cpu_ns(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|i| ticks.get(*i)).sum::<u64>() * 10_000_000
}

fn used_bytes(meminfo: &str) -> i64 {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse::<i64>().ok()
    };
    let used = field("MemTotal:").unwrap_or(0) - field("MemAvailable:").unwrap_or(0);
    used.max(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counters() {
        assert_eq!(cpu_ns("cpu  1 2 3 100 100 4 5 6 0 0\ncpu0 1"), 210_000_000);
        assert_eq!(used_bytes("MemTotal: 10 kB\nMemAvailable: 4 kB\n"), 6144);
    }
}
