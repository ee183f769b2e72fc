//! TokenRequest: a token for a service account, bound to a pod, a secret or a node if asked for.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::names::{GroupKind, GroupVersionKind};
use skep_api::status::{FieldError, Status};
use skep_auth::serviceaccount::{Binding, Lifetime, ObjectRef};

use crate::answer::Answer;
use crate::call::Call;
use crate::objects::{Objects, text};
use crate::verbs::meta;

const DEFAULT_SECONDS: u64 = 3600;
const MIN_SECONDS: u64 = 600;
const MAX_SECONDS: u64 = 1 << 32;

pub(super) async fn create(call: &Call) -> Answer {
    let gvk = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
    let mut request = call.read_object(&gvk).await?.object;
    let account = call.objects()?.find(call.namespace(), call.name()).await?.object;
    let seconds = request["spec"]["expirationSeconds"].as_u64().unwrap_or(DEFAULT_SECONDS);
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
        let detail = match seconds < MIN_SECONDS {
            true => "may not specify a duration less than 10 minutes",
            false => "may not specify a duration larger than 2^32 seconds",
        };
        let error = FieldError::invalid("spec.expirationSeconds", seconds, detail);
        let kind = GroupKind { group: gvk.group.clone(), kind: gvk.kind.clone() };
        return Err(Status::invalid(&kind, "", &[error]));
    }
    let authentication = call.server.authentication();
    let asked = request["spec"]["audiences"].as_array().into_iter().flatten();
    let mut audiences: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.clone_from(&authentication.audiences);
    }
    let binding = binding(call, &account, &request["spec"]["boundObjectRef"]).await?;
    // Upstream lengthens what kubelets ask for pods, for the sake of clients that never read it again.
    let extend = binding.pod.is_some() && audiences == authentication.audiences;
    let lifetime = Lifetime::requested(seconds, extend);
    let now = SystemTime::now();
    let id = uuid::Uuid::new_v4().to_string();
    let token = authentication.signer.sign(&binding, &audiences, lifetime, &id, now);
    let expires = jiff::Timestamp::try_from(now + std::time::Duration::from_secs(seconds));
    let expires = expires.map_err(Status::internal)?;
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({"token": token, "expirationTimestamp": meta::time(expires)});
    request["metadata"] = json!({
        "name": call.name(),
        "namespace": call.namespace(),
        "creationTimestamp": meta::time(jiff::Timestamp::now()),
    });
    call.answer_as(StatusCode::CREATED, &request, &gvk)
}

/// What the token speaks for and dies with, after making sure that it is there.
async fn binding(call: &Call, account: &Object, bound: &Value) -> Result<Binding, Status> {
    let mut binding = Binding {
        namespace: call.namespace().to_owned(),
        service_account: reference(account),
        pod: None,
        node: None,
        secret: None,
    };
    if !bound.is_object() {
        return Ok(binding);
    }
    match text(bound, "/kind") {
        "Pod" => {
            let pod = find(call, bound, "pods", call.namespace()).await?;
            if text(&pod, "/spec/serviceAccountName") != call.name() {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    call.name()
                )));
            }
            binding.node = node_of(call, &pod).await?;
            binding.pod = Some(reference(&pod));
        }
        "Secret" => {
            let secret = find(call, bound, "secrets", call.namespace()).await?;
            binding.secret = Some(reference(&secret));
        }
        "Node" => binding.node = Some(reference(&find(call, bound, "nodes", "").await?)),
        other => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {} {other}",
                text(bound, "/apiVersion")
            )));
        }
    }
    Ok(binding)
}

async fn find(call: &Call, bound: &Value, plural: &str, namespace: &str) -> Result<Object, Status> {
    let objects = Objects::named(&call.server, "", "v1", plural);
    let name = text(bound, "/name");
    let found = objects.find(namespace, name).await?.object;
    let (wanted, own) = (text(bound, "/uid"), meta::text(&found, "uid"));
    if !wanted.is_empty() && wanted != own {
        return Err(Status::conflict(
            &objects.resource.group_resource(),
            name,
            format!(
                "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ));
    }
    Ok(found)
}

async fn node_of(call: &Call, pod: &Object) -> Result<Option<ObjectRef>, Status> {
    let name = text(pod, "/spec/nodeName");
    if name.is_empty() {
        return Ok(None);
    }
    let node = Objects::named(&call.server, "", "v1", "nodes").get("", name).await?;
    Ok(Some(match node {
        Some(node) => reference(&node.object),
        None => ObjectRef::new(name, ""),
    }))
}

fn reference(object: &Object) -> ObjectRef {
    ObjectRef::new(meta::text(object, "name"), meta::text(object, "uid"))
}
