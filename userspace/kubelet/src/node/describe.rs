//! The node's object: labels, sizes, addresses, conditions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, NodeSystemInfo, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Map, Value, json};
use skep_cri::v1::{Image, VersionResponse};

use super::readiness::Readiness;
use crate::config::Config;
use crate::eviction::Pressure;
use crate::kubelet::Kubelet;
use crate::status::whole_seconds;

/// The version whose API this kubelet speaks.
const VERSION: &str = "v1.37.1";
/// What API servers may rely on: they hand WebSocket streams through instead of translating them.
const FEATURES: [&str; 1] = ["ExtendWebSocketsToKubelet"];
/// How many images a node tells of.
const MOST_IMAGES: usize = 50;

/// The labels that every node has, and those asked for.
pub(super) fn labels(config: &Config) -> BTreeMap<String, String> {
    let arch = architecture();
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), config.node_name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), arch.to_owned()),
        ("beta.kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("beta.kubernetes.io/arch".to_owned(), arch.to_owned()),
    ]);
    labels.extend(config.labels.clone());
    labels
}

/// A new node.
pub(super) fn object(
    kubelet: &Kubelet,
    labels: BTreeMap<String, String>,
    status: NodeStatus,
) -> Node {
    let config = &kubelet.config;
    let taints = config.taints.iter().map(|taint| Taint {
        key: taint.key.clone(),
        value: Some(taint.value.clone()).filter(|value| !value.is_empty()),
        effect: taint.effect.clone(),
        time_added: None,
    });
    let taints: Vec<Taint> = taints.collect();
    let detach = ("volumes.kubernetes.io/controller-managed-attach-detach".into(), "true".into());
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([detach])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: config.provider_id.clone(),
            taints: (!taints.is_empty()).then_some(taints),
            ..NodeSpec::default()
        }),
        status: Some(status),
    }
}

/// The status as it is now. Transition times move only with the condition.
pub(super) fn status(
    kubelet: &Kubelet,
    readiness: &Readiness,
    images: Vec<Image>,
    version: Option<VersionResponse>,
    old: Option<&NodeStatus>,
) -> NodeStatus {
    let (config, machine) = (&kubelet.config, &kubelet.machine);
    let amounts = |memory: i64, disk: i64| {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(machine.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
            ("pods".to_owned(), Quantity(config.max_pods.to_string())),
            ("ephemeral-storage".to_owned(), Quantity(disk.to_string())),
            ("hugepages-1Gi".to_owned(), Quantity("0".into())),
            ("hugepages-2Mi".to_owned(), Quantity("0".into())),
        ])
    };
    let internal = config.node_ips.iter().map(|ip| ("InternalIP", ip.to_string()));
    let addresses = internal.chain([("Hostname", config.node_name.clone())]);
    let runtime = version.map(|v| format!("{}://{}", v.runtime_name, v.runtime_version));
    NodeStatus {
        capacity: Some(amounts(machine.memory_bytes, machine.disk_bytes)),
        allocatable: Some(amounts(
            machine.allocatable_memory_bytes(),
            machine.allocatable_disk_bytes(),
        )),
        conditions: Some(conditions(readiness, *kubelet.pressure.read(), old)),
        addresses: Some(
            addresses.map(|(kind, address)| NodeAddress { type_: kind.into(), address }).collect(),
        ),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: config.listen.port().into() }),
        }),
        declared_features: Some(FEATURES.iter().map(|name| (*name).to_owned()).collect()),
        images: Some(image_list(images)),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().into(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: runtime.unwrap_or_else(|| "unknown://unknown".into()),
            kernel_version: machine.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: VERSION.into(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn conditions(
    readiness: &Readiness,
    pressure: Pressure,
    old: Option<&NodeStatus>,
) -> Vec<NodeCondition> {
    let (ready, reason, message) = match readiness {
        Ok(()) => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
        Err(problem) => ("False", "KubeletNotReady", problem.clone()),
    };
    let (memory, memory_reason, memory_message) = match pressure.memory {
        true => {
            ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
        }
        false => ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    };
    let (disk, disk_reason, disk_message) = match pressure.disk {
        true => ("True", "KubeletHasDiskPressure", "kubelet has disk pressure"),
        false => ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    };
    let list = [
        ("MemoryPressure", memory, memory_reason, memory_message),
        ("DiskPressure", disk, disk_reason, disk_message),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", ready, reason, &message),
    ];
    let now = Time(whole_seconds(Timestamp::now()));
    let before = old.and_then(|old| old.conditions.as_deref()).unwrap_or_default();
    list.into_iter()
        .map(|(kind, status, reason, message)| {
            let same = before.iter().find(|c| c.type_ == kind && c.status == status);
            NodeCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: same
                    .and_then(|c| c.last_transition_time.clone())
                    .or_else(|| Some(now.clone())),
            }
        })
        .collect()
}

fn image_list(mut images: Vec<Image>) -> Vec<ContainerImage> {
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images.truncate(MOST_IMAGES);
    images
        .into_iter()
        .map(|image| {
            let names = image.repo_digests.into_iter().chain(image.repo_tags).take(5);
            ContainerImage {
                names: Some(names.collect()),
                size_bytes: i64::try_from(image.size).ok(),
            }
        })
        .collect()
}

/// What must be written; none if only time has passed.
pub(super) fn patch(old: Option<&NodeStatus>, new: &NodeStatus) -> Option<Value> {
    let (old, new) = (fields(old?), fields(new));
    let mut changes = Map::new();
    for (key, value) in new {
        let before = old.get(&key);
        let same = match key.as_str() {
            "conditions" => before.is_some_and(|before| same_conditions(before, &value)),
            // Others (the runtime's, the network's) may have added what is theirs.
            "capacity" | "allocatable" | "nodeInfo" => contains(before, &value),
            _ => before == Some(&value),
        };
        if same {
            continue;
        }
        let value = match (key.as_str(), value) {
            // The merge goes by kind, of which there may be several: the whole list is told.
            ("addresses", Value::Array(list)) => {
                let whole = std::iter::once(json!({"$patch": "replace"}));
                Value::Array(whole.chain(list).collect())
            }
            (_, value) => value,
        };
        changes.insert(key, value);
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// Only the conditions, whose time is what is told.
pub(super) fn heartbeat(status: &NodeStatus) -> Value {
    json!({"conditions": status.conditions})
}

fn contains(before: Option<&Value>, value: &Value) -> bool {
    let (Some(before), Some(value)) = (before.and_then(Value::as_object), value.as_object()) else {
        return false;
    };
    value.iter().all(|(key, value)| before.get(key) == Some(value))
}

fn same_conditions(before: &Value, after: &Value) -> bool {
    let key = |condition: &Value| {
        let text = |name: &str| condition.get(name).and_then(Value::as_str).map(str::to_owned);
        (text("type"), text("status"), text("reason"), text("message"))
    };
    let before: Vec<_> = before.as_array().into_iter().flatten().map(key).collect();
    after.as_array().into_iter().flatten().map(key).all(|one| before.contains(&one))
}

fn fields(status: &NodeStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// As Go and container images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_alone_is_no_change() {
        let old = NodeStatus {
            conditions: Some(conditions(&Ok(()), Pressure::default(), None)),
            ..NodeStatus::default()
        };
        let mut new = old.clone();
        for condition in new.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = Some(Time(Timestamp::UNIX_EPOCH));
        }
        assert_eq!(patch(Some(&old), &new), None);
        new.conditions = Some(conditions(&Err("down".into()), Pressure::default(), Some(&old)));
        let changed = patch(Some(&old), &new).unwrap();
        assert!(changed["conditions"].to_string().contains("KubeletNotReady"));
    }
}
