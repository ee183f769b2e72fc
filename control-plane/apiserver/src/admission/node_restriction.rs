//! A kubelet writes its own node and its own pods, nothing else.

use skep_api::status::Status;
use skep_auth::authz::Resource;
use skep_auth::authz::restriction::{self, Refusal};

use super::Write;

pub(super) async fn validate(write: &Write<'_>) -> Result<(), Status> {
    if write.user.node_name().is_none() || check(write).is_ok() {
        return Ok(());
    }
    // The pod may be newer than the facts.
    write.server.facts().caught_up(write.server).await?;
    check(write)
}

fn check(write: &Write<'_>) -> Result<(), Status> {
    let resource = Resource {
        group: &write.resource.group,
        version: &write.resource.version,
        resource: &write.resource.plural,
        subresource: write.subresource.unwrap_or_default(),
        namespace: write.namespace,
        name: write.name,
        fields: &[],
    };
    let restricted = restriction::Write {
        user: write.user,
        operation: write.operation,
        resource,
        object: write.object.as_ref(),
        old: write.old,
    };
    let known = write.server.facts().known();
    restriction::admit(&restricted, &*known, &known.authorizer).map_err(|refusal| match refusal {
        Refusal::Forbidden(reason) => write.forbidden(reason),
        Refusal::NotFound { resource, name } => {
            Status::not_found(&skep_api::GroupResource::new("", resource), &name)
        }
    })
}
