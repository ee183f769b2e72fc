//! What a request wants, in the words authorization is about.

use std::fmt;

use crate::authn::UserInfo;

/// A request as an authorizer sees it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection` and a few
    /// more; for paths the HTTP method in lower case.
    pub verb: &'a str,
    /// What for.
    pub target: Target<'a>,
}

/// An API object or a plain path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// An object or a list of them.
    Resource(Resource<'a>),
    /// A path outside the resource API, such as `/metrics`.
    Path(&'a str),
}

/// An object, a list of objects or a subresource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The API version.
    pub version: &'a str,
    /// The plural, lower-case name.
    pub resource: &'a str,
    /// The part after the name, if any.
    pub subresource: &'a str,
    /// Empty for cluster-wide resources and lists over all namespaces.
    pub namespace: &'a str,
    /// Empty for lists, except those whose field selector is `metadata.name=NAME`.
    pub name: &'a str,
    /// The `field=value` requirements of a list's or watch's field selector.
    pub fields: &'a [(&'a str, &'a str)],
}

impl Resource<'_> {
    /// Whether the field selector pins `field` to `value`.
    pub fn selects(&self, field: &str, value: &str) -> bool {
        self.fields.contains(&(field, value))
    }
}

/// The sentence of a 403's message: what the user cannot do.
impl fmt::Display for Attributes<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verb, target } = self;
        write!(out, "User {:?} cannot {verb} ", user.name)?;
        let resource = match target {
            Target::Path(path) => return write!(out, "path {path:?}"),
            Target::Resource(resource) => resource,
        };
        let slash = if resource.subresource.is_empty() { "" } else { "/" };
        let name = format!("{}{slash}{}", resource.resource, resource.subresource);
        write!(out, "resource {name:?} in API group {:?} ", resource.group)?;
        if resource.namespace.is_empty() {
            out.write_str("at the cluster scope")
        } else {
            write!(out, "in the namespace {:?}", resource.namespace)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_like_upstreams() {
        let user = UserInfo::new("jane", &[]);
        let pods = Resource {
            version: "v1",
            resource: "pods",
            namespace: "default",
            ..Resource::default()
        };
        let cases = [
            (
                Target::Resource(pods),
                r#"User "jane" cannot get resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                Target::Resource(Resource { subresource: "log", ..pods }),
                r#"User "jane" cannot get resource "pods/log" in API group "" in the namespace "default""#,
            ),
            (
                Target::Resource(Resource {
                    group: "apps",
                    resource: "deployments",
                    ..Resource::default()
                }),
                r#"User "jane" cannot get resource "deployments" in API group "apps" at the cluster scope"#,
            ),
            (Target::Path("/metrics"), r#"User "jane" cannot get path "/metrics""#),
        ];
        for (target, expected) in cases {
            assert_eq!(Attributes { user: &user, verb: "get", target }.to_string(), expected);
        }
    }
}
