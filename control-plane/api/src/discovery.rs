//! Discovery documents: the legacy ones, and the aggregated ones of apidiscovery.k8s.io. Callers hand in
//! the registry of what is served, and add what other servers serve.

use serde_json::{Map, Value, json};

use crate::names::Name;
use crate::registry::{Group, Registry, Resource, Version};

/// A version of the aggregated documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregated {
    /// apidiscovery.k8s.io/v2
    V2,
    /// apidiscovery.k8s.io/v2beta1
    V2Beta1,
}

/// `/api`
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server_address }],
    })
}

/// `/apis`
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = named_groups(registry).map(group_entry).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`
pub fn group(registry: &Registry, name: &str) -> Option<Value> {
    let group = named_groups(registry).find(|group| group.name == name)?;
    let mut entry = json!({ "kind": "APIGroup", "apiVersion": "v1" });
    if let (Some(to), Value::Object(from)) = (entry.as_object_mut(), group_entry(group)) {
        to.extend(from);
    }
    Some(entry)
}

/// `/api/v1` and `/apis/GROUP/VERSION`
pub fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let version = registry.version(group, version)?;
    let resources: Vec<Value> = version.resources.iter().flat_map(legacy_entries).collect();
    let group_version = if group.is_empty() {
        version.name.to_string()
    } else {
        format!("{group}/{}", version.name)
    };
    let mut list =
        json!({ "kind": "APIResourceList", "groupVersion": group_version, "resources": resources });
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

/// The aggregated document of `/api` (`core`) or `/apis`.
pub fn aggregated(registry: &Registry, core: bool, form: Aggregated) -> Value {
    let groups = registry.groups().iter().filter(|group| group.name.is_empty() == core);
    let version = match form {
        Aggregated::V2 => "apidiscovery.k8s.io/v2",
        Aggregated::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
    };
    let items: Vec<Value> = groups.map(aggregated_group).collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": version, "metadata": {}, "items": items })
}

fn named_groups(registry: &Registry) -> impl Iterator<Item = &Group> {
    registry.groups().iter().filter(|group| !group.name.is_empty())
}

fn group_entry(group: &Group) -> Value {
    let entry = |version: &Version| json!({ "groupVersion": format!("{}/{}", group.name, version.name), "version": version.name });
    let versions: Vec<Value> = group.versions.iter().map(entry).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({ "name": group.name, "versions": versions, "preferredVersion": preferred })
}

/// A resource and its subresources, as the flat list has them.
fn legacy_entries(resource: &Resource) -> Vec<Value> {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    let optional = [("shortNames", &resource.short_names), ("categories", &resource.categories)];
    set_lists(&mut entry, optional);
    if !resource.storage_version_hash.is_empty() {
        entry["storageVersionHash"] = resource.storage_version_hash.as_ref().into();
    }
    let mut entries = vec![entry];
    for subresource in &resource.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", resource.plural, subresource.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": subresource.kind.kind,
            "verbs": subresource.verbs,
        });
        if subresource.foreign {
            entry["group"] = subresource.kind.group.as_ref().into();
            entry["version"] = subresource.kind.version.as_ref().into();
        }
        entries.push(entry);
    }
    entries
}

fn aggregated_group(group: &Group) -> Value {
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".to_owned(), group.name.as_ref().into());
    }
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = version.resources.iter().map(aggregated_resource).collect();
            json!({ "version": version.name, "resources": resources, "freshness": "Current" })
        })
        .collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(resource: &Resource) -> Value {
    // Group and version are told where they are not the surrounding ones.
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": { "group": "", "version": "", "kind": resource.kind },
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    let optional = [("shortNames", &resource.short_names), ("categories", &resource.categories)];
    set_lists(&mut entry, optional);
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|subresource| {
            let (group, version) = if subresource.foreign {
                (subresource.kind.group.as_ref(), subresource.kind.version.as_ref())
            } else {
                ("", "")
            };
            json!({
                "subresource": subresource.name,
                "responseKind": { "group": group, "version": version, "kind": subresource.kind.kind },
                "verbs": subresource.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

fn set_lists(entry: &mut Value, lists: [(&str, &Vec<Name>); 2]) {
    for (key, list) in lists {
        if !list.is_empty() {
            entry[key] = json!(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::served;

    #[test]
    fn what_a_running_apiserver_says() {
        // Taken from kube-apiserver 1.37.1 with default flags.
        let cases: [(&str, Value); 4] = [
            (include_str!("../tests/discovery/apis.json"), group_list(served())),
            (
                include_str!("../tests/discovery/api.v2.json"),
                aggregated(served(), true, Aggregated::V2),
            ),
            (
                include_str!("../tests/discovery/apis.v2.json"),
                aggregated(served(), false, Aggregated::V2),
            ),
            (
                include_str!("../tests/discovery/api_v1.json"),
                resource_list(served(), "", "v1").expect("v1"),
            ),
        ];
        for (upstream, ours) in cases {
            let upstream: Value = serde_json::from_str(upstream).expect("a recorded answer");
            assert_eq!(ours, upstream);
        }
    }
}
