//! Nothing new in a namespace that is not there or is going away; and some namespaces stay.

use skep_api::names::GroupResource;
use skep_api::status::{Cause, Status};

use super::{Operation, Write};
use crate::objects::Objects;
use crate::verbs::meta;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) async fn admit(write: &Write<'_>) -> Result<(), Status> {
    if write.is(Operation::Delete, "", "namespaces") && IMMORTAL.contains(&write.name) {
        return Err(write.forbidden("this namespace may not be deleted"));
    }
    if write.operation != Operation::Create || write.namespace.is_empty() {
        return Ok(());
    }
    let namespaces = Objects::named(write.server, "", "v1", "namespaces");
    let Some(namespace) = namespaces.get("", write.namespace).await? else {
        return Err(Status::not_found(&GroupResource::new("", "namespaces"), write.namespace));
    };
    if !meta::is_deleting(&namespace.object) {
        return Ok(());
    }
    let name = write.namespace;
    let refusal = write.forbidden(format!(
        "unable to create new content in namespace {name} because it is being terminated"
    ));
    Err(refusal.caused_by(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    }))
}
