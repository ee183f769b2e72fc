//! Which resources the server has: what the namespace and garbage controllers work on.

use kube::Client;
use kube::core::ApiResource;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery, APIVersionDiscovery};

use crate::runtime::RequestError;

/// One resource, in the version its group prefers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    /// Group, version, kind and plural.
    pub(crate) api: ApiResource,
    /// Its objects live in namespaces.
    pub(crate) namespaced: bool,
    /// What can be done with it.
    pub(crate) verbs: Vec<String>,
}

impl Resource {
    /// True when all of these verbs are offered.
    pub(crate) fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|offered| offered == verb))
    }

    /// `pods`, `deployments.apps`: how messages name it.
    pub(crate) fn group_resource(&self) -> String {
        if self.api.group.is_empty() {
            format!("{}.", self.api.plural)
        } else {
            format!("{}.{}", self.api.plural, self.api.group)
        }
    }
}

/// What the server offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Catalog {
    /// Every resource once, in its preferred version.
    pub(crate) resources: Vec<Resource>,
    /// `group/version`s whose server could not be asked.
    pub(crate) stale: Vec<String>,
}

/// Asks the server for everything it offers.
pub(crate) async fn discover(client: &Client) -> Result<Catalog, RequestError> {
    let core = client.list_core_api_versions_aggregated().await?;
    let groups = client.list_api_groups_aggregated().await?;
    Ok(catalog(core.items.iter().chain(&groups.items)))
}

fn catalog<'a>(groups: impl Iterator<Item = &'a APIGroupDiscovery>) -> Catalog {
    let mut catalog = Catalog::default();
    for group in groups {
        let name = group.metadata.as_ref().and_then(|meta| meta.name.clone()).unwrap_or_default();
        let first = catalog.resources.len();
        // Versions come in the order of preference: a resource counts where it appears first.
        for version in &group.versions {
            let version_name = version.version.as_deref().unwrap_or_default();
            if version.freshness.as_deref() == Some("Stale") {
                catalog.stale.push(format!("{name}/{version_name}"));
            }
            for resource in resources(&name, version_name, version) {
                let known = &catalog.resources[first..];
                if known.iter().all(|known| known.api.plural != resource.api.plural) {
                    catalog.resources.push(resource);
                }
            }
        }
    }
    catalog
}

fn resources(
    group: &str,
    version: &str,
    offered: &APIVersionDiscovery,
) -> impl Iterator<Item = Resource> {
    offered.resources.iter().filter_map(move |found| resource(group, version, found))
}

fn resource(group: &str, version: &str, found: &APIResourceDiscovery) -> Option<Resource> {
    let api_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let api = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version,
        kind: found.response_kind.as_ref()?.kind.clone()?,
        plural: found.resource.clone()?,
    };
    let namespaced = found.scope.as_deref() == Some("Namespaced");
    Some(Resource { api, namespaced, verbs: found.verbs.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_counts_once_in_its_preferred_version() {
        let resource = |name: &str, kind: &str| {
            json!({"resource": name, "scope": "Namespaced", "verbs": ["get", "list"],
                "responseKind": {"group": "", "version": "", "kind": kind}})
        };
        let group: APIGroupDiscovery = serde_json::from_value(json!({
            "metadata": {"name": "batch"},
            "versions": [
                {"version": "v1", "freshness": "Current", "resources": [resource("jobs", "Job")]},
                {"version": "v1beta1", "freshness": "Stale", "resources": [
                    resource("jobs", "Job"), resource("schedules", "Schedule")]},
            ],
        }))
        .unwrap();
        let catalog = catalog([&group].into_iter());
        let found: Vec<_> = catalog
            .resources
            .iter()
            .map(|r| (r.api.api_version.as_str(), r.group_resource()))
            .collect();
        let expected =
            [("batch/v1", "jobs.batch".into()), ("batch/v1beta1", "schedules.batch".into())];
        assert_eq!(found, expected);
        assert_eq!(catalog.stale, ["batch/v1beta1"]);
        assert!(catalog.resources[0].can(&["get", "list"]));
        assert!(!catalog.resources[0].can(&["delete"]));
    }
}
