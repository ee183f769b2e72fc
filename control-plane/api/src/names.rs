//! Names of groups, versions, kinds and resources, printed as upstream prints them.

use std::borrow::Cow;
use std::fmt;

/// A name: borrowed from the generated tables for what is built in, owned for what is not.
pub type Name = Cow<'static, str>;

/// A group and a version; the core group is the empty string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// `apps`, or empty for the core group
    pub group: Name,
    /// `v1`
    pub version: Name,
}

impl GroupVersion {
    /// From its parts.
    pub fn new(group: impl Into<Name>, version: impl Into<Name>) -> Self {
        Self { group: group.into(), version: version.into() }
    }

    /// Reads an `apiVersion`: `v1` or `apps/v1`.
    ///
    /// # Errors
    /// A message as upstream's `ParseGroupVersion` gives it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [version] => Ok(Self::new("", (*version).to_owned())),
            [group, version] => Ok(Self::new((*group).to_owned(), (*version).to_owned())),
            _ => Err(format!("unexpected GroupVersion string: {text}")),
        }
    }

    /// The kind of this name in this group and version.
    pub fn with_kind(&self, kind: impl Into<Name>) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: kind.into(),
        }
    }
}

impl std::str::FromStr for GroupVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

/// A kind in one version of its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// `apps`, or empty for the core group
    pub group: Name,
    /// `v1`
    pub version: Name,
    /// `Deployment`
    pub kind: Name,
}

impl GroupVersionKind {
    /// From its parts.
    pub fn new(group: impl Into<Name>, version: impl Into<Name>, kind: impl Into<Name>) -> Self {
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// Group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(self.group.clone(), self.version.clone())
    }

    /// Group and kind.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind { group: self.group.clone(), kind: self.kind.clone() }
    }

    /// What stands in an object's `apiVersion`.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }

    /// Reads `apiVersion` and `kind` of an object; `None` where either is missing or malformed.
    pub fn of(object: &serde_json::Value) -> Option<Self> {
        let version = GroupVersion::parse(object.get("apiVersion")?.as_str()?).ok()?;
        Some(version.with_kind(object.get("kind")?.as_str()?.to_owned()))
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// A resource in one version of its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// `apps`, or empty for the core group
    pub group: Name,
    /// `v1`
    pub version: Name,
    /// `deployments`
    pub resource: Name,
}

impl GroupVersionResource {
    /// Group and resource.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.resource.clone() }
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
    }
}

/// A resource in any version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// `apps`, or empty for the core group
    pub group: Name,
    /// `deployments`
    pub resource: Name,
}

impl GroupResource {
    /// From its parts.
    pub fn new(group: impl Into<Name>, resource: impl Into<Name>) -> Self {
        Self { group: group.into(), resource: resource.into() }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.resource, &self.group)
    }
}

/// A kind in any version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// `apps`, or empty for the core group
    pub group: Name,
    /// `Deployment`
    pub kind: Name,
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.kind, &self.group)
    }
}

/// `deployments.apps`; the core group adds nothing.
fn dotted(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    if group.is_empty() { f.write_str(name) } else { write!(f, "{name}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_and_parse_as_upstream() {
        let core = GroupVersion::parse("v1").expect("core");
        assert_eq!((core.group.as_ref(), core.to_string().as_str()), ("", "v1"));
        let apps = GroupVersion::parse("apps/v1").expect("apps");
        assert_eq!(apps.with_kind("Deployment").to_string(), "apps/v1, Kind=Deployment");
        assert_eq!(apps.with_kind("Deployment").group_kind().to_string(), "Deployment.apps");
        assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
        assert!(GroupVersion::parse("a/b/c").is_err());
    }
}
