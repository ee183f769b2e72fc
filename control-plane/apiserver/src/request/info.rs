//! Verb, group, version, resource, namespace, name and subresource of a request, as upstream's
//! RequestInfo reads them: authorization and dispatch both go by it.

use http::Method;
use skep_auth::authn::UserInfo;
use skep_auth::authz::{Attributes, Resource, Target};

use super::query::{self, Query};

/// What is done to a resource, in authorization's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    pub(crate) fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A path into the resource API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) verb: Verb,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What follows the subresource: the path for a proxy.
    pub(crate) rest: String,
}

/// A request's line, understood.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) resource: Option<ResourcePath>,
    /// `field=value` pairs of the field selector that authorization looks at.
    fields: Vec<(String, String)>,
}

impl Info {
    pub(crate) fn read(method: &Method, path: &str, query: Option<&str>) -> Self {
        let query = Query::parse(query);
        let fields = fields(query.get("fieldSelector"));
        let mut resource = ResourcePath::read(method, path, &query);
        if let Some(resource) = &mut resource
            && matches!(resource.verb, Verb::List | Verb::Watch | Verb::DeleteCollection)
            && let Some((_, name)) = fields.iter().find(|(field, _)| field == "metadata.name")
        {
            resource.name.clone_from(name);
        }
        Self { method: method.clone(), path: path.to_owned(), query, resource, fields }
    }

    /// Asks the authorizers' question.
    pub(crate) fn with_attributes<T>(
        &self,
        user: &UserInfo,
        ask: impl FnOnce(&Attributes<'_>) -> T,
    ) -> T {
        let Some(path) = &self.resource else {
            let verb = self.method.as_str().to_ascii_lowercase();
            return ask(&Attributes { user, verb: &verb, target: Target::Path(&self.path) });
        };
        let fields: Vec<(&str, &str)> =
            self.fields.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
        let target = Target::Resource(Resource { fields: &fields, ..path.resource() });
        ask(&Attributes { user, verb: path.verb.as_str(), target })
    }

    /// Requests that may take as long as they like, and do not count as in flight.
    pub(crate) fn is_long_running(&self) -> bool {
        let Some(path) = &self.resource else { return false };
        let streams = ["log", "exec", "attach", "portforward", "proxy"];
        path.verb == Verb::Watch || streams.contains(&path.subresource.as_str())
    }
}

impl ResourcePath {
    fn read(method: &Method, path: &str, query: &Query) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/').map(query::unescape);
        let (group, version) = match parts.next()?.as_ref() {
            "api" => (String::new(), parts.next()?.into_owned()),
            "apis" => (parts.next()?.into_owned(), parts.next()?.into_owned()),
            _ => return None,
        };
        let mut parts: Vec<String> = parts.map(std::borrow::Cow::into_owned).collect();
        let legacy_watch = parts.first().is_some_and(|first| first == "watch");
        if legacy_watch {
            parts.remove(0);
        }
        let mut namespace = String::new();
        // A namespace's own subresources have the path of a namespaced resource.
        let own = ["status", "finalize"];
        if parts.first()? == "namespaces"
            && parts.len() > 2
            && !(parts.len() == 3 && own.contains(&parts[2].as_str()))
        {
            namespace.clone_from(&parts[1]);
            parts.drain(..2);
        } else if parts[0] == "namespaces" && parts.len() > 1 {
            namespace.clone_from(&parts[1]);
        }
        let mut parts = parts.into_iter();
        let resource = parts.next().filter(|resource| !resource.is_empty())?;
        let name = parts.next().unwrap_or_default();
        let subresource = parts.next().unwrap_or_default();
        let rest = parts.collect::<Vec<_>>().join("/");
        let watches = legacy_watch || query.flag("watch");
        let verb = match *method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if name.is_empty() => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            _ if !name.is_empty() && !legacy_watch => Verb::Get,
            _ if watches => Verb::Watch,
            _ => Verb::List,
        };
        Some(Self { verb, group, version, resource, namespace, name, subresource, rest })
    }

    /// As authorization names it.
    pub(crate) fn resource(&self) -> Resource<'_> {
        Resource {
            group: &self.group,
            version: &self.version,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            fields: &[],
        }
    }
}

/// The equalities of a field selector.
fn fields(selector: &str) -> Vec<(String, String)> {
    let terms = selector.split(',').filter(|term| !term.contains("!="));
    let pair = |term: &str| {
        let (field, value) = term.split_once("==").or_else(|| term.split_once('='))?;
        Some((field.trim().to_owned(), value.trim().to_owned()))
    };
    terms.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_upstream_reads_them() {
        let cases = [
            ("GET", "/api/v1/pods", "list pods ns= name= sub="),
            ("GET", "/api/v1/pods?watch=true", "watch pods ns= name= sub="),
            ("GET", "/api/v1/watch/namespaces/a/pods", "watch pods ns=a name= sub="),
            ("GET", "/api/v1/namespaces/a/pods/b", "get pods ns=a name=b sub="),
            ("HEAD", "/api/v1/namespaces/a/pods/b", "get pods ns=a name=b sub="),
            (
                "POST",
                "/api/v1/namespaces/a/pods/b/eviction",
                "create pods ns=a name=b sub=eviction",
            ),
            ("GET", "/api/v1/namespaces/a", "get namespaces ns=a name=a sub="),
            ("PUT", "/api/v1/namespaces/a/finalize", "update namespaces ns=a name=a sub=finalize"),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/d/status",
                "patch deployments ns=a name=d sub=status",
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection deployments ns=a name= sub=",
            ),
            ("DELETE", "/api/v1/nodes/n", "delete nodes ns= name=n sub="),
            ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn", "list nodes ns= name=n sub="),
            ("GET", "/api/v1/nodes/n/proxy/stats/summary", "get nodes ns= name=n sub=proxy"),
        ];
        for (method, uri, expected) in cases {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let method = method.parse().unwrap();
            let found = Info::read(&method, path, Some(query)).resource.unwrap();
            let ResourcePath { verb, resource, namespace, name, subresource, .. } = found;
            let verb = verb.as_str();
            let found = format!("{verb} {resource} ns={namespace} name={name} sub={subresource}");
            assert_eq!(found, expected, "{uri}");
        }
        for path in ["/", "/healthz", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/version"]
        {
            assert_eq!(Info::read(&Method::GET, path, None).resource, None, "{path}");
        }
    }

    #[test]
    fn streams_may_take_their_time() {
        let long =
            |path: &str, query| Info::read(&Method::GET, path, Some(query)).is_long_running();
        assert!(long("/api/v1/pods", "watch=1"));
        assert!(long("/api/v1/namespaces/a/pods/b/log", ""));
        assert!(!long("/api/v1/pods", ""));
        assert!(!long("/healthz", ""));
    }
}
