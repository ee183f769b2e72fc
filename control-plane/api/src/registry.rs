//! Which groups, versions and resources there are, and the type of every kind.

mod storage;
mod table;

use std::sync::LazyLock;

use crate::names::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, Name};
use crate::schema::{self, TypeRef};

pub use storage::Storage;

/// Groups in discovery order.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    groups: Vec<Group>,
}

/// An API group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// `apps`, or empty for the core group
    pub name: Name,
    /// The preferred one first
    pub versions: Vec<Version>,
}

/// A version of a group.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// `v1`
    pub name: Name,
    /// In discovery order
    pub resources: Vec<Resource>,
}

/// A resource in one version.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// Its group
    pub group: Name,
    /// Its version
    pub version: Name,
    /// `deployments`
    pub plural: Name,
    /// `deployment`
    pub singular: Name,
    /// `Deployment`
    pub kind: Name,
    /// Lives in a namespace
    pub namespaced: bool,
    /// Sorted
    pub verbs: Vec<Name>,
    /// `deploy`
    pub short_names: Vec<Name>,
    /// `all`
    pub categories: Vec<Name>,
    /// `status`, `scale`, ...
    pub subresources: Vec<Subresource>,
    /// As discovery shows it; empty where nothing is stored
    pub storage_version_hash: Name,
    /// The version it is stored in; empty where nothing is stored
    pub storage_version: Name,
}

/// A part of a resource with a path of its own.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// `status`
    pub name: Name,
    /// What it takes and answers
    pub kind: GroupVersionKind,
    /// Discovery names group and version of the kind, because they are not the resource's
    pub foreign: bool,
    /// Sorted
    pub verbs: Vec<Name>,
}

impl Registry {
    /// Every group.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The version of this name in this group.
    pub fn version(&self, group: &str, version: &str) -> Option<&Version> {
        self.group(group)?.versions.iter().find(|known| known.name == version)
    }

    /// The resource of this plural name.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        self.version(group, version)?.resources.iter().find(|resource| resource.plural == plural)
    }

    /// The resource whose objects are of this kind.
    pub fn resource_of_kind(&self, gvk: &GroupVersionKind) -> Option<&Resource> {
        let resources = &self.version(&gvk.group, &gvk.version)?.resources;
        resources.iter().find(|resource| resource.kind == gvk.kind)
    }

    /// The type of a kind: an object's, a list's, or one of the machinery's (`DeleteOptions`, `Status`,
    /// ...), which belong to every group and version.
    pub fn kind(&self, gvk: &GroupVersionKind) -> Option<TypeRef> {
        let name = format!("{}/{}/{}", gvk.group, gvk.version, gvk.kind);
        let kinds = schema::builtin_kinds();
        if let Ok(at) = kinds.binary_search_by(|(known, _)| (*known).cmp(name.as_str())) {
            return Some(TypeRef::Builtin(kinds[at].1));
        }
        if MACHINERY.contains(&gvk.kind.as_ref()) {
            return schema::builtin_type(&format!(
                "io.k8s.apimachinery.pkg.apis.meta.v1.{}",
                gvk.kind
            ));
        }
        None
    }

    /// What a default apiserver serves: versions that are generally available.
    pub fn served_by_default(&self) -> Self {
        let groups = self.groups.iter().map(Group::served_by_default);
        Self { groups: groups.filter(|group| !group.versions.is_empty()).collect() }
    }
}

impl Group {
    /// The preferred version.
    pub fn preferred(&self) -> Option<&Version> {
        self.versions.first()
    }

    fn served_by_default(&self) -> Self {
        let stable =
            |version: &&Version| !version.name.contains("alpha") && !version.name.contains("beta");
        let versions = self.versions.iter().filter(stable).cloned().collect();
        Self { name: self.name.clone(), versions }
    }
}

impl Resource {
    /// Whether it has this verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group.clone(), self.version.clone())
    }

    /// The kind of its objects.
    pub fn gvk(&self) -> GroupVersionKind {
        self.group_version().with_kind(self.kind.clone())
    }

    /// The kind of its lists.
    pub fn list_gvk(&self) -> GroupVersionKind {
        self.group_version().with_kind(format!("{}List", self.kind))
    }

    /// Its full name.
    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.plural.clone(),
        }
    }

    /// Its name in any version.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group.clone(), self.plural.clone())
    }
}

/// Kinds that every group and version knows.
const MACHINERY: [&str; 17] = [
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "List",
    "ListOptions",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "PatchOptions",
    "Status",
    "Table",
    "TableOptions",
    "UpdateOptions",
    "WatchEvent",
];

static BUILTIN: LazyLock<Registry> =
    LazyLock::new(|| Registry { groups: table::read(include_str!("generated/resources.tsv")) });

static SERVED: LazyLock<Registry> = LazyLock::new(|| BUILTIN.served_by_default());

/// Everything upstream can serve, alpha and beta included.
pub fn builtin() -> &'static Registry {
    &BUILTIN
}

/// What upstream serves by default.
pub fn served() -> &'static Registry {
    &SERVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_and_subresource_has_a_type() {
        for group in builtin().groups() {
            for version in &group.versions {
                for resource in &version.resources {
                    assert!(builtin().kind(&resource.gvk()).is_some(), "{}", resource.gvk());
                    if resource.has_verb("list") {
                        assert!(
                            builtin().kind(&resource.list_gvk()).is_some(),
                            "{}",
                            resource.list_gvk()
                        );
                    }
                    for subresource in &resource.subresources {
                        assert!(
                            builtin().kind(&subresource.kind).is_some(),
                            "{}",
                            subresource.kind
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn machinery_kinds_belong_to_every_version() {
        let options = GroupVersionKind::new("apps", "v1", "DeleteOptions");
        assert_eq!(builtin().kind(&options).expect("DeleteOptions").go_name, "v1.DeleteOptions");
        assert!(builtin().kind(&GroupVersionKind::new("apps", "v1", "Pod")).is_none());
    }

    #[test]
    fn alpha_and_beta_are_not_served_by_default() {
        assert!(builtin().version("resource.k8s.io", "v1beta2").is_some());
        assert!(served().version("resource.k8s.io", "v1beta2").is_none());
        assert!(served().resource("apps", "v1", "deployments").is_some());
    }
}
