use std::collections::BTreeSet;

use super::*;
use crate::registry::builtin;

/// What upstream's document of policy/v1 holds that ours leaves out, because the server does not do it:
/// server-side apply, sharded lists, deletion of what cannot be read.
const LEFT_OUT: [&str; 4] = [
    "application/apply-patch+yaml",
    "force",
    "shardSelector",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
];

fn documents() -> impl Iterator<Item = Value> {
    let versions = |group: &'static crate::registry::Group| {
        group.versions.iter().map(|version| document(builtin(), &group.name, &version.name))
    };
    builtin().groups().iter().flat_map(versions).map(|document| document.expect("a document"))
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value.as_str() {
                    Some(reference) if key == "$ref" => {
                        found.insert(reference.to_owned());
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn assert_whole(document: &Value) {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    let paths = document["paths"].as_object().expect("paths").values();
    for item in paths.flat_map(|item| item.as_object().expect("path item")) {
        if let Some(id) = item.1.get("operationId") {
            assert!(ids.insert(id.to_string()), "{id} twice");
        }
    }
    assert!(!ids.is_empty());
}

#[test]
fn references_lead_somewhere_and_operations_are_unique() {
    documents().for_each(|document| assert_whole(&document));
    assert_whole(&v2(builtin()));
}

#[test]
fn patches_tell_what_clients_look_for() {
    for document in documents() {
        for item in document["paths"].as_object().expect("paths").values() {
            let patch = &item["patch"];
            if patch["x-kubernetes-action"] != "patch" {
                continue;
            }
            let parameters = patch["parameters"].as_array().expect("parameters");
            for name in ["dryRun", "fieldValidation", "fieldManager"] {
                assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{patch}");
            }
            let content = &patch["requestBody"]["content"];
            assert!(content.get("application/strategic-merge-patch+json").is_some(), "{patch}");
        }
    }
}

#[test]
fn fields_tell_how_they_merge() {
    let document = document(builtin(), "apps", "v1").expect("apps/v1");
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{ "group": "apps", "version": "v1", "kind": "Deployment" }])
    );
    let pod = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    let containers = &pod["containers"];
    assert!(containers["description"].is_string());
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["x-kubernetes-list-type"], "map");
}

#[test]
fn version_2_says_the_same_in_its_own_way() {
    let document = v2(builtin());
    let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(path["patch"]["parameters"][0]["in"], "body");
    assert_eq!(path["patch"]["consumes"][2], "application/strategic-merge-patch+json");
    let shared = path["parameters"].as_array().expect("parameters");
    let names: Vec<&Value> = shared.iter().map(|parameter| &parameter["name"]).collect();
    assert_eq!(names, ["name", "namespace", "pretty"]);
    assert_eq!(shared[0]["type"], "string");
    let spec = &document["definitions"]["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
    assert_eq!(spec["$ref"], "#/definitions/io.k8s.api.apps.v1.DeploymentSpec");
    assert!(spec["description"].is_string());
    let int_or_string = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    assert_eq!(document["definitions"][int_or_string]["type"], "string");
}

#[test]
fn index_names_every_version() {
    let index = index(builtin());
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("address");
    let (path, hash) = address.split_once("?hash=").expect("hash");
    assert_eq!((path, hash.len()), ("/openapi/v3/apis/apps/v1", 64));
    assert!(index["paths"].get("api/v1").is_some());
    assert!(document(builtin(), "apps", "v2").is_none());
}

/// The operations of a document in the fixture's form.
fn operations(document: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("path item") {
            if method == "parameters" {
                continue;
            }
            let own = operation["parameters"].as_array().into_iter().flatten();
            let shared = item["parameters"].as_array().into_iter().flatten();
            let mut parameters: Vec<&Value> =
                own.chain(shared).map(|parameter| &parameter["name"]).collect();
            parameters.sort_by_key(|name| name.as_str());
            let bodies = operation["requestBody"]["content"].as_object();
            let answers = operation["responses"].as_object().expect("responses").iter();
            let answers: Vec<String> = answers
                .filter_map(|(code, response)| {
                    let schema = &response["content"]["application/json"]["schema"]["$ref"];
                    Some(format!("{code} {}", schema.as_str()?.rsplit('/').next()?))
                })
                .collect();
            operations.push(json!({
                "path": path,
                "method": method,
                "action": operation["x-kubernetes-action"].as_str().unwrap_or_default(),
                "kind": operation["x-kubernetes-group-version-kind"]["kind"].as_str().unwrap_or_default(),
                "id": operation["operationId"],
                "tag": operation["tags"][0],
                "parameters": parameters,
                "bodies": bodies.into_iter().flat_map(|bodies| bodies.keys()).collect::<Vec<_>>(),
                "answers": answers,
            }));
        }
    }
    operations
}

fn without_descriptions(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .filter(|(key, value)| *key != "description" || !value.is_string())
            .map(|(key, value)| (key.clone(), without_descriptions(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_descriptions).collect(),
        other => other.clone(),
    }
}

/// Upstream orders some lists as the Go source does.
fn sorted(mut operations: Vec<Value>) -> Vec<Value> {
    for operation in &mut operations {
        for list in ["parameters", "bodies"] {
            let items = operation[list].as_array_mut().expect("a list");
            items.retain(|item| !LEFT_OUT.iter().any(|left_out| item == left_out));
        }
    }
    operations.sort_by_key(|operation| operation["id"].to_string());
    operations
}

#[test]
fn a_document_is_what_upstream_serves() {
    let theirs: Value =
        serde_json::from_str(include_str!("fixtures/policy-v1.json")).expect("fixture");
    let ours = document(builtin(), "policy", "v1").expect("policy/v1");
    let expected = theirs["operations"].as_array().expect("operations").clone();
    assert_eq!(sorted(operations(&ours)), sorted(expected));
    let mut ours = without_descriptions(&ours["components"]["schemas"]);
    let mut theirs = theirs["schemas"].clone();
    for schemas in [&mut ours, &mut theirs] {
        for schema in schemas.as_object_mut().expect("schemas").values_mut() {
            if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
                required.sort_by_key(Value::to_string);
            }
        }
    }
    assert_eq!(ours, theirs);
}
