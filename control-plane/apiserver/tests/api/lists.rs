//! Lists: pages, selectors, forms, encodings.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::server::{Server, names};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn server_with(count: usize) -> Server {
    let server = Server::start().await;
    for number in 0..count {
        let labels = json!({"parity": if number % 2 == 0 { "even" } else { "odd" }});
        let object = json!({"metadata": {"name": format!("c{number}"), "labels": labels}});
        server.admin.create(CONFIG_MAPS, object).await.unwrap();
    }
    server
}

#[tokio::test]
async fn pages_show_the_moment_of_the_first() {
    let server = server_with(5).await;
    let first = server.admin.get(&format!("{CONFIG_MAPS}?limit=2")).await.unwrap();
    assert_eq!(names(&first), ["c0", "c1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.admin.delete(&format!("{CONFIG_MAPS}/c2")).await.unwrap();
    server.admin.create(CONFIG_MAPS, json!({"metadata": {"name": "c11"}})).await.unwrap();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = server.admin.get(&format!("{CONFIG_MAPS}?limit=9&continue={token}")).await.unwrap();
    assert_eq!(names(&rest), ["c2", "c3", "c4"]);
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(rest["metadata"].get("continue"), None);
}

#[tokio::test]
async fn selectors_choose_and_pages_of_them_are_full() {
    let server = server_with(5).await;
    let cases = [
        ("labelSelector=parity%3Dodd", vec!["c1", "c3"]),
        ("labelSelector=parity!%3Dodd", vec!["c0", "c2", "c4"]),
        ("fieldSelector=metadata.name%3Dc3", vec!["c3"]),
        ("labelSelector=parity%3Deven&limit=2", vec!["c0", "c2"]),
    ];
    for (query, expected) in cases {
        let found = server.admin.get(&format!("{CONFIG_MAPS}?{query}")).await.unwrap();
        assert_eq!(names(&found), expected, "{query}");
    }
    let refused = server.admin.get(&format!("{CONFIG_MAPS}?fieldSelector=data.a%3Db")).await;
    assert_eq!(refused.unwrap_err().0, 400);
}

#[tokio::test]
async fn a_version_that_is_not_there_yet_is_told_from_one_that_is() {
    let server = server_with(1).await;
    let list = server.admin.get(CONFIG_MAPS).await.unwrap();
    let version: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    for (query, expected) in [
        (format!("resourceVersion={version}"), None),
        (format!("resourceVersion={version}&resourceVersionMatch=Exact"), None),
        ("resourceVersion=0".to_owned(), None),
        (format!("resourceVersion={}", version + 1000), Some(504)),
        ("resourceVersion=x".to_owned(), Some(400)),
        ("resourceVersionMatch=Exact".to_owned(), Some(400)),
    ] {
        let found = server.admin.get(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(found.err().map(|(code, _)| code), expected, "{query}");
    }
}

#[tokio::test]
async fn the_client_chooses_the_form() {
    let server = server_with(2).await;
    let get = async |accept: &str, path: &str| -> Value {
        let request = Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
        server.admin.client.request(request).await.unwrap()
    };
    let table = get("application/json;as=Table;v=v1;g=meta.k8s.io", CONFIG_MAPS).await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][1]["cells"][0], "c1");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = get(partial, CONFIG_MAPS).await;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&partial), ["c0", "c1"]);
    let request = Request::builder().method(Method::GET).uri(CONFIG_MAPS);
    let request = request.header("accept", "application/yaml").body(Vec::new()).unwrap();
    let yaml = server.admin.client.request_text(request).await.unwrap();
    assert!(yaml.contains("kind: ConfigMapList"), "{yaml}");
}

#[tokio::test]
async fn delete_collection_takes_what_the_selector_names() {
    let server = server_with(5).await;
    server.admin.delete(&format!("{CONFIG_MAPS}?labelSelector=parity%3Deven")).await.unwrap();
    assert_eq!(names(&server.admin.get(CONFIG_MAPS).await.unwrap()), ["c1", "c3"]);
}
