//! Deleting everything in a namespace and reporting what is left.

use std::collections::BTreeMap;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};

use crate::discovery::{Catalog, Resource};
use crate::runtime::RequestError;

/// What one round of deleting came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Report {
    /// Why not everything could be found.
    pub(super) discovery: Option<String>,
    /// What could not be deleted, by resource.
    pub(super) failures: Vec<String>,
    /// How many objects are left, by resource.
    pub(super) remaining: BTreeMap<String, usize>,
    /// How many of them wait for which finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// When the last of the remaining objects should be gone, in seconds.
    pub(super) estimate: Option<u64>,
}

impl Report {
    /// The resources could not be listed at all.
    pub(super) fn undiscovered(message: String) -> Self {
        Self { discovery: Some(message), ..Self::default() }
    }

    /// Nothing is left and nothing went wrong.
    pub(super) fn is_clear(&self) -> bool {
        self.discovery.is_none() && self.failures.is_empty() && self.remaining.is_empty()
    }

    fn note(&mut self, resource: &Resource, left: &[PartialObjectMeta<DynamicObject>]) {
        if left.is_empty() {
            return;
        }
        *self.remaining.entry(resource.group_resource()).or_default() += left.len();
        for finalizer in left.iter().flat_map(ResourceExt::finalizers) {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        // Pods take their grace period; anything else is looked at again soon.
        let grace = left.iter().filter_map(|object| object.metadata.deletion_grace_period_seconds);
        let grace = grace.max().and_then(|seconds| u64::try_from(seconds).ok());
        if let Some(grace) = grace.filter(|_| resource.api.plural == "pods") {
            self.estimate = self.estimate.max(Some(grace));
        }
    }
}

/// Asks for the deletion of everything in the namespace. While pods are left nothing else is
/// touched: what protects them (policies, secrets) must outlive them.
pub(super) async fn delete_content(client: &Client, namespace: &str, catalog: &Catalog) -> Report {
    let mut report = Report::default();
    if !catalog.stale.is_empty() {
        let groups = catalog.stale.join(", ");
        report.discovery = Some(format!(
            "Discovery failed for some groups, {} failing: {groups}",
            catalog.stale.len()
        ));
    }
    let deletable = catalog.resources.iter().filter(|r| r.namespaced && r.can(&["delete"]));
    let (pods, others): (Vec<&Resource>, Vec<&Resource>) =
        deletable.partition(|r| r.api.group.is_empty() && r.api.plural == "pods");
    for resources in [pods, others] {
        for resource in resources {
            match empty(client, namespace, resource).await {
                Ok(left) => report.note(resource, &left),
                Err(error) => {
                    report.failures.push(format!("{}: {error}", resource.group_resource()));
                }
            }
        }
        if !report.remaining.is_empty() || !report.failures.is_empty() {
            break;
        }
    }
    report
}

/// Deletes the resource's objects in the namespace; answers which are still there.
async fn empty(
    client: &Client,
    namespace: &str,
    resource: &Resource,
) -> Result<Vec<PartialObjectMeta<DynamicObject>>, RequestError> {
    if !resource.can(&["list"]) {
        return Ok(Vec::new());
    }
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource.api);
    let left = api.list_metadata(&ListParams::default()).await?.items;
    if left.is_empty() {
        return Ok(left);
    }
    let how = DeleteParams::background();
    if resource.can(&["deletecollection"]) {
        api.delete_collection(&how, &ListParams::default()).await?;
    } else {
        for object in left.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
            api.delete(&object.name_any(), &how).await?;
        }
    }
    Ok(api.list_metadata(&ListParams::default()).await?.items)
}
