//! Watches: order, selectors, initial events, bookmarks, resumption.

use futures::{AsyncBufReadExt, TryStreamExt};
use http::Request;
use serde_json::{Value, json};

use crate::server::Server;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Follows a watch until it has given `count` events: their types, names and versions.
async fn events(server: &Server, query: &str, count: usize) -> Vec<(String, String)> {
    let request =
        Request::get(format!("{CONFIG_MAPS}?watch=true&{query}")).body(Vec::new()).unwrap();
    let stream = server.admin.client.request_stream(request).await.unwrap();
    let mut lines = Box::pin(stream).lines();
    let mut events = Vec::new();
    while events.len() < count {
        let line = lines.try_next().await.unwrap().expect("the watch goes on");
        let event: Value = serde_json::from_str(&line).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.push((text(&event["type"]), text(&event["object"]["metadata"]["name"])));
    }
    events
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect()
}

async fn change(server: &Server) -> u64 {
    let before = server.admin.get(CONFIG_MAPS).await.unwrap();
    let before = before["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let path = |name: &str| format!("{CONFIG_MAPS}/{name}");
    for name in ["a", "b"] {
        let object = json!({"metadata": {"name": name, "labels": {"on": "no"}}});
        server.admin.create(CONFIG_MAPS, object).await.unwrap();
    }
    for on in ["yes", "no"] {
        let labels = json!({"metadata": {"labels": {"on": on}}});
        server.admin.merge(&path("a"), labels).await.unwrap();
    }
    server.admin.delete(&path("a")).await.unwrap();
    before
}

#[tokio::test]
async fn a_watch_resumes_where_a_list_ended() {
    let server = Server::start().await;
    let before = change(&server).await;
    let all =
        [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")];
    let query = format!("resourceVersion={before}");
    assert_eq!(events(&server, &query, 5).await, pairs(&all));
    let query = format!("resourceVersion={}", before + 3);
    assert_eq!(events(&server, &query, 2).await, pairs(&all[3..]));
}

#[tokio::test]
async fn an_object_comes_and_goes_as_the_selector_sees_it() {
    let server = Server::start().await;
    let before = change(&server).await;
    let query = format!("resourceVersion={before}&labelSelector=on%3Dyes");
    assert_eq!(events(&server, &query, 2).await, pairs(&[("ADDED", "a"), ("DELETED", "a")]));
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_mark() {
    let server = Server::start().await;
    change(&server).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    assert_eq!(events(&server, query, 2).await, pairs(&[("ADDED", "b"), ("BOOKMARK", "")]));
    assert_eq!(events(&server, "", 1).await, pairs(&[("ADDED", "b")]));
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true");
    let text = server.admin.client.request_text(Request::get(path).body(Vec::new()).unwrap());
    let text = text.await.unwrap();
    assert!(text.starts_with("{\"type\":\"BOOKMARK\""), "the last word is how far it came: {text}");
}
