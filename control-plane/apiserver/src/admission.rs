//! What a plain cluster needs beyond the kinds themselves: small named hooks, in upstream's order, that
//! complete an object before it is checked (`mutate`) or refuse the write after (`validate`).
//! Webhooks and policies join these two lists.

mod certificates;
mod default_tolerations;
mod escalation;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod runtime_class;
mod service_account;
mod taint_nodes;

use skep_api::Object;
use skep_api::registry::Resource;
use skep_api::status::Status;
use skep_auth::authn::UserInfo;

use crate::ApiServer;

pub(crate) use skep_auth::authz::restriction::Operation;

/// A write on its way to the store.
pub(crate) struct Write<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) user: &'a UserInfo,
    pub(crate) operation: Operation,
    pub(crate) resource: &'static Resource,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// The object as it shall be; absent for deletions.
    pub(crate) object: Option<Object>,
    /// The object as it is; absent for creations.
    pub(crate) old: Option<&'a Object>,
}

impl Write<'_> {
    /// Whether it is about objects of this resource themselves.
    fn is(&self, operation: Operation, group: &str, resource: &str) -> bool {
        self.operation == operation
            && self.subresource.is_none()
            && self.resource.group == group
            && self.resource.plural == resource
    }

    fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        Status::forbidden(&self.resource.group_resource(), self.name, why)
    }
}

/// Completes the object.
pub(crate) async fn mutate(write: &mut Write<'_>) -> Result<(), Status> {
    namespace_lifecycle::admit(write).await?;
    certificates::complete(write);
    taint_nodes::complete(write);
    service_account::complete(write).await?;
    default_tolerations::complete(write);
    priority::complete(write).await?;
    runtime_class::complete(write).await
}

/// Refuses what must not be written.
pub(crate) async fn validate(write: &Write<'_>) -> Result<(), Status> {
    if write.operation == Operation::Delete {
        namespace_lifecycle::admit(write).await?;
    }
    node_restriction::validate(write).await?;
    certificates::validate(write).await?;
    escalation::validate(write).await
}
