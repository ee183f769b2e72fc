//! One rule of a role: which verbs on which things.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Attributes, Target};

/// rbac.authorization.k8s.io/v1's PolicyRule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs, or `*`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// API groups, or `*`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale` or `*`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names; empty for any.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths, possibly ending in `*`.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// Clients that write lists as `null` mean empty ones.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

impl PolicyRule {
    /// Whether the rule allows a request.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        match &attributes.target {
            Target::Path(path) => self.non_resource_urls.iter().any(|rule| covers_url(rule, path)),
            Target::Resource(wanted) => {
                has(&self.api_groups, wanted.group)
                    && self
                        .resources
                        .iter()
                        .any(|r| covers_resource(r, wanted.resource, wanted.subresource))
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|name| name == wanted.name))
            }
        }
    }
}

/// Whether a rule's `resource`, `resource/subresource`, `*/subresource` or `*` means the one asked for.
pub(super) fn covers_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((of, sub)) => {
            !subresource.is_empty() && sub == subresource && (of == "*" || of == resource)
        }
    }
}

/// Whether a rule's path, or its beginning before trailing `*`, means the one asked for.
pub(super) fn covers_url(rule: &str, path: &str) -> bool {
    rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// The rule in one line, as upstream shows rules that someone lacks.
impl fmt::Display for PolicyRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<_> = parts
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        write!(out, "{{{}}}", shown.join(", "))
    }
}

/// Go's `%q` of a list of strings: `["a" "b"]`.
pub(super) fn quoted(list: &[String]) -> String {
    let items: Vec<_> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::UserInfo;
    use crate::authz::Resource;

    fn list(text: &str) -> Vec<String> {
        text.split_terminator(',').map(str::to_owned).collect()
    }

    fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> PolicyRule {
        PolicyRule {
            verbs: list(verbs),
            api_groups: groups.split(',').map(str::to_owned).collect(),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: Vec::new(),
        }
    }

    #[test]
    fn resource_rules_follow_upstreams_wildcards() {
        // rule (verbs, groups, resources, names), request (verb, group, resource, subresource, name), allowed
        let cases = [
            (("get", "", "pods", ""), ("get", "", "pods", "", "a"), true),
            (("get", "", "pods", ""), ("list", "", "pods", "", ""), false),
            (("*", "", "pods", ""), ("list", "", "pods", "", ""), true),
            (("get", "", "pods", ""), ("get", "apps", "pods", "", ""), false),
            (("get", "*", "pods", ""), ("get", "apps", "pods", "", ""), true),
            (("get", "", "pods", ""), ("get", "", "pods", "log", "a"), false),
            (("get", "", "pods/log", ""), ("get", "", "pods", "log", "a"), true),
            (("get", "", "pods/log", ""), ("get", "", "pods", "", "a"), false),
            (("get", "", "pods/*", ""), ("get", "", "pods", "log", "a"), false),
            (("get", "", "*/scale", ""), ("get", "", "deployments", "scale", "a"), true),
            (("get", "", "*/scale", ""), ("get", "", "deployments", "status", "a"), false),
            (("get", "", "*/scale", ""), ("get", "", "scale", "", "a"), false),
            (("get", "", "*", ""), ("get", "", "pods", "log", "a"), true),
            (("get", "", "pods", "a,b"), ("get", "", "pods", "", "b"), true),
            (("get", "", "pods", "a,b"), ("get", "", "pods", "", "c"), false),
            (("list", "", "pods", "a"), ("list", "", "pods", "", ""), false),
            (("", "", "pods", ""), ("get", "", "pods", "", ""), false),
        ];
        let user = UserInfo::default();
        for (
            (verbs, groups, resources, names),
            (verb, group, resource, subresource, name),
            allowed,
        ) in cases
        {
            let wanted = Resource { group, resource, subresource, name, ..Resource::default() };
            let attributes = Attributes { user: &user, verb, target: Target::Resource(wanted) };
            let rule = rule(verbs, groups, resources, names);
            assert_eq!(rule.allows(&attributes), allowed, "{rule} {attributes}");
        }
    }

    #[test]
    fn path_rules_match_whole_paths_or_beginnings() {
        let cases = [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/etcd", false),
            ("/healthz/*", "/healthz/etcd", true),
            ("/healthz/*", "/healthz", false),
            ("*", "/anything", true),
            ("/api*", "/apis/apps", true),
        ];
        let user = UserInfo::default();
        for (url, path, allowed) in cases {
            let rule = PolicyRule {
                verbs: list("get"),
                non_resource_urls: list(url),
                ..PolicyRule::default()
            };
            let attributes = Attributes { user: &user, verb: "get", target: Target::Path(path) };
            assert_eq!(rule.allows(&attributes), allowed, "{url} {path}");
            let resource = Target::Resource(Resource::default());
            assert!(!rule.allows(&Attributes { target: resource, ..attributes }));
        }
    }

    #[test]
    fn null_lists_read_as_empty() {
        let rule: PolicyRule =
            serde_json::from_str(r#"{"verbs":["get"],"resources":null}"#).unwrap();
        assert_eq!(rule.to_string(), r#"{Verbs:["get"]}"#);
    }
}
