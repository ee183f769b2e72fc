//! Signing requests: who asks is written down by the server, and who approves or signs must be allowed
//! to for that signer.

use serde_json::json;
use skep_api::status::Status;
use skep_auth::authz::{Attributes, Resource, Target};

use super::{Operation, Write};
use crate::objects::text;

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

pub(super) fn complete(write: &mut Write<'_>) {
    if !write.is(Operation::Create, GROUP, REQUESTS) {
        return;
    }
    let user = write.user;
    let Some(spec) = write.object.as_mut().and_then(|object| object.get_mut("spec")) else {
        return;
    };
    spec["username"] = user.name.as_str().into();
    spec["groups"] = json!(user.groups);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("uid");
        spec.remove("extra");
        if !user.uid.is_empty() {
            spec.insert("uid".to_owned(), user.uid.as_str().into());
        }
        if !user.extra.is_empty() {
            spec.insert("extra".to_owned(), json!(user.extra));
        }
    }
}

pub(super) async fn validate(write: &Write<'_>) -> Result<(), Status> {
    if write.operation != Operation::Update
        || write.resource.group != GROUP
        || write.resource.plural != REQUESTS
    {
        return Ok(());
    }
    let (Some(object), Some(old)) = (&write.object, write.old) else { return Ok(()) };
    let verb = match write.subresource {
        Some("approval") => "approve",
        Some("status") if object["status"]["certificate"] != old["status"]["certificate"] => "sign",
        _ => return Ok(()),
    };
    let signer = text(old, "/spec/signerName");
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    let all_of_domain = format!("{domain}/*");
    for name in [signer, &all_of_domain] {
        let resource = Resource {
            group: GROUP,
            version: "*",
            resource: "signers",
            name,
            ..Resource::default()
        };
        let attributes = Attributes { user: write.user, verb, target: Target::Resource(resource) };
        if write.server.facts().authorize(write.server, &attributes).await.is_ok() {
            return Ok(());
        }
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(write.forbidden(why))
}
