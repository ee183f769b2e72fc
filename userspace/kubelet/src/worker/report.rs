//! Telling the API server a pod's status: only what changed, and only when something did.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{HostIP, Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::Worker;
use crate::plan::Plan;

impl Worker {
    /// True when the API server has this status (or the pod no longer).
    pub(super) async fn report(&mut self, plan: &Plan) -> bool {
        if self.memory.gone {
            return true;
        }
        let mut status = plan.status.clone();
        let of_node = &self.kubelet.config.node_ips;
        status.host_ip = of_node.first().map(ToString::to_string);
        status.host_ips = Some(of_node.iter().map(|ip| HostIP { ip: ip.to_string() }).collect());
        if crate::identity::is_host_network(&self.pod) && status.pod_ip.is_none() {
            status.pod_ip.clone_from(&status.host_ip);
            let ips = of_node.iter();
            status.pod_ips = Some(
                ips.map(|ip| k8s_openapi::api::core::v1::PodIP { ip: ip.to_string() }).collect(),
            );
        }
        if self.reported.as_ref() == Some(&status) {
            return true;
        }
        let Some(patch) = patch(&self.id.uid, self.pod.status.as_ref(), &status) else {
            self.reported = Some(status);
            return true;
        };
        let pods: Api<Pod> = Api::namespaced(self.kubelet.client.clone(), &self.id.namespace);
        let params = PatchParams::default();
        match pods.patch_status(&self.id.name, &params, &Patch::Strategic(patch)).await {
            Ok(pod) => {
                self.pod = Arc::new(pod);
                self.reported = Some(status);
                true
            }
            // Gone, or another pod of that name: the watch will say so.
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => true,
            Err(error) => {
                tracing::warn!(pod = %self.id, %error, "cannot tell a pod's status");
                false
            }
        }
    }
}

/// A strategic merge patch from one status to another; none if nothing changes. Conditions of others
/// are not touched, as the merge goes by type; lists that merge by address are replaced whole.
fn patch(uid: &str, old: Option<&PodStatus>, new: &PodStatus) -> Option<Value> {
    let old = fields(old?);
    let new = fields(new);
    let mut changes = Map::new();
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        let value = match (key.as_str(), value) {
            ("podIPs" | "hostIPs", Value::Array(list)) if old.contains_key(key) => {
                let whole = std::iter::once(json!({"$patch": "replace"}));
                Value::Array(whole.chain(list.iter().cloned()).collect())
            }
            ("conditions", Value::Array(list)) => {
                let before = old.get(key).and_then(Value::as_array);
                let known = |one: &&Value| before.is_none_or(|before| !before.contains(one));
                Value::Array(list.iter().filter(known).map(whole_condition).collect())
            }
            _ => value.clone(),
        };
        if value.as_array().is_some_and(Vec::is_empty) && key == "conditions" {
            continue;
        }
        changes.insert(key.clone(), value);
    }
    let owned = [
        "message",
        "reason",
        "podIP",
        "podIPs",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    for key in owned {
        if old.contains_key(key) && !new.contains_key(key) {
            changes.insert(key.to_owned(), Value::Null);
        }
    }
    (!changes.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": changes}))
}

/// A condition that also takes back what it no longer says: the merge would keep it.
fn whole_condition(condition: &Value) -> Value {
    let mut condition = condition.clone();
    for key in ["reason", "message"] {
        if condition.get(key).is_none() {
            condition[key] = Value::Null;
        }
    }
    condition
}

fn fields(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_changed() {
        let old = status(json!({"phase": "Pending", "reason": "x", "podIPs": [{"ip": "a"}],
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]}));
        let new = status(json!({"phase": "Running", "podIPs": [{"ip": "b"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]}));
        let expected = json!({"metadata": {"uid": "u"}, "status": {
            "phase": "Running", "reason": null,
            "podIPs": [{"$patch": "replace"}, {"ip": "b"}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": null, "message": null},
                {"type": "Initialized", "status": "True", "reason": null, "message": null}]}});
        assert_eq!(patch("u", Some(&old), &new), Some(expected));
    }

    #[test]
    fn nothing_changed() {
        let same = status(json!({"phase": "Running"}));
        assert_eq!(patch("u", Some(&same), &same), None);
    }
}
