//! Binding a pod to its node: the scheduler's one write.

use http::StatusCode;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::names::{GroupResource, GroupVersionKind};
use skep_api::status::Status;
use skep_store::{Txn, TxnOutcome};

use crate::answer::Answer;
use crate::call::Call;
use crate::objects::{Objects, store_error, text};
use crate::verbs::meta;

const ATTEMPTS: usize = 16;

pub(crate) async fn bind(call: &Call) -> Answer {
    let gvk = GroupVersionKind::new("", "v1", "Binding");
    let binding = call.read_object(&gvk).await?.object;
    let name = match call.name() {
        "" => meta::text(&binding, "name"),
        name => name,
    };
    let kind = text(&binding, "/target/kind");
    if !matches!(kind, "" | "Node") || text(&binding, "/target/name").is_empty() {
        return Err(Status::bad_request(
            "Binding: target: Required value: the name of a Node is required",
        ));
    }
    let pods = Objects::named(&call.server, "", "v1", "pods");
    for _ in 0..ATTEMPTS {
        let stored = pods.find(&call.path.namespace, name).await?;
        let bound = bound(&stored.object, &binding, name)?;
        if call.write_options()?.dry_run {
            break;
        }
        let txn = Txn::update(stored.key, stored.revision, pods.encode(&bound)?, stored.lease);
        match pods.store.txn(txn).await.map_err(store_error)? {
            TxnOutcome::Committed(_) => break,
            TxnOutcome::Conflict(_) => {}
        }
    }
    let success = GroupVersionKind::new("", "v1", "Status");
    let mut status = Status::success(None);
    status["code"] = StatusCode::CREATED.as_u16().into();
    call.answer_as(StatusCode::CREATED, &status, &success)
}

/// The pod after the binding, unless it is bound or going away.
fn bound(pod: &Object, binding: &Object, name: &str) -> Result<Object, Status> {
    let refuse =
        |why: String| Err(Status::conflict(&GroupResource::new("", "pods/binding"), name, why));
    let (uid, own) = (meta::text(binding, "uid"), meta::text(pod, "uid"));
    if !uid.is_empty() && uid != own {
        return refuse(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
        ));
    }
    if meta::is_deleting(pod) {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = text(pod, "/spec/nodeName");
    if !node.is_empty() {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = binding["target"]["name"].clone();
    for part in ["annotations", "labels"] {
        for (key, value) in binding["metadata"][part].as_object().into_iter().flatten() {
            pod["metadata"][part][key] = value.clone();
        }
    }
    mark_scheduled(&mut pod);
    Ok(pod)
}

fn mark_scheduled(pod: &mut Object) {
    let now = meta::time(jiff::Timestamp::now());
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let others = conditions.into_iter().filter(|condition| condition["type"] != "PodScheduled");
    pod["status"]["conditions"] = others.chain([scheduled]).collect::<Vec<Value>>().into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Object {
        json!({"metadata": {"uid": "1", "annotations": {"a": "b"}}, "target": {"kind": "Node", "name": "n"}})
    }

    #[test]
    fn a_pod_is_bound_once_and_only_while_it_lives() {
        let cases = [
            (json!({"metadata": {"uid": "1"}, "spec": {}}), None),
            (json!({"metadata": {"uid": "2"}, "spec": {}}), Some("UID in precondition")),
            (
                json!({"metadata": {"uid": "1"}, "spec": {"nodeName": "m"}}),
                Some("already assigned to node \"m\""),
            ),
            (
                json!({"metadata": {"uid": "1", "deletionTimestamp": "t"}, "spec": {}}),
                Some("being deleted"),
            ),
        ];
        for (pod, refusal) in cases {
            match (bound(&pod, &binding(), "p"), refusal) {
                (Ok(bound), None) => {
                    assert_eq!(bound["spec"]["nodeName"], "n");
                    assert_eq!(bound["metadata"]["annotations"]["a"], "b");
                    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
                }
                (Err(status), Some(expected)) => {
                    assert!(status.message.contains(expected), "{}", status.message);
                    assert_eq!(status.code, 409);
                }
                (found, expected) => panic!("{pod}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
