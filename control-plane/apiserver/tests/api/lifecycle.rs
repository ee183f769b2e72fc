//! How objects end: grace, finalizers, dependents, namespaces; and what outlives a restart.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn account(server: &Server) {
    let account = json!({"metadata": {"name": "default"}});
    server.admin.create("/api/v1/namespaces/default/serviceaccounts", account).await.unwrap();
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

async fn bind(server: &Server, name: &str) {
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    server.admin.create(&format!("{PODS}/{name}/binding"), binding).await.unwrap();
}

#[tokio::test]
async fn a_cluster_shows_the_range_of_its_services_from_the_start() {
    let server = Server::start().await;
    let path = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes";
    let range = server.admin.get(path).await.unwrap();
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16"]));
}

#[tokio::test]
async fn a_pod_gets_account_token_tolerations_and_priority() {
    let server = Server::start().await;
    account(&server).await;
    let created = server.admin.create(PODS, pod("p")).await.unwrap();
    let spec = &created["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(spec["volumes"][0]["name"], mount["name"]);
    assert_eq!(created["status"]["phase"], "Pending");
}

#[tokio::test]
async fn a_running_pod_has_time_to_end_and_a_waiting_one_needs_none() {
    let server = Server::start().await;
    account(&server).await;
    for name in ["waiting", "running"] {
        server.admin.create(PODS, pod(name)).await.unwrap();
    }
    bind(&server, "running").await;
    server.admin.delete(&format!("{PODS}/waiting")).await.unwrap();
    assert_eq!(server.admin.get(&format!("{PODS}/waiting")).await.unwrap_err().0, 404);

    let path = format!("{PODS}/running");
    let deleted = server.admin.delete(&path).await.unwrap();
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 30);
    let again = server.admin.delete(&path).await.unwrap();
    assert_eq!(again["metadata"], deleted["metadata"], "a second deletion changes nothing");
    let body = json!({"gracePeriodSeconds": 5}).to_string().into();
    let shorter = server.admin.ask(Method::DELETE, &path, "application/json", body).await.unwrap();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    server.admin.delete(&format!("{path}?gracePeriodSeconds=0")).await.unwrap();
    assert_eq!(server.admin.get(&path).await.unwrap_err().0, 404);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let server = Server::start().await;
    account(&server).await;
    server.admin.create(PODS, pod("p")).await.unwrap();
    bind(&server, "p").await;
    assert_eq!(server.admin.get(&format!("{PODS}/p")).await.unwrap()["spec"]["nodeName"], "n");
    let again = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "m"}});
    let (code, message) =
        server.admin.create(&format!("{PODS}/p/binding"), again).await.unwrap_err();
    assert_eq!(code, 409);
    assert!(message.ends_with("pod p is already assigned to node \"n\""), "{message}");
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let server = Server::start().await;
    let object = json!({"metadata": {"name": "a", "finalizers": ["x.y/z"]}});
    server.admin.create(CONFIG_MAPS, object).await.unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    let marked = server.admin.delete(&path).await.unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    server.admin.get(&path).await.unwrap();
    server.admin.merge(&path, json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert_eq!(server.admin.get(&path).await.unwrap_err().0, 404);
}

#[tokio::test]
async fn propagation_is_written_down_for_the_garbage_collector() {
    let server = Server::start().await;
    for (policy, finalizer) in [
        ("Foreground", Some("foregroundDeletion")),
        ("Orphan", Some("orphan")),
        ("Background", None),
    ] {
        server.admin.create(CONFIG_MAPS, json!({"metadata": {"name": "a"}})).await.unwrap();
        let path = format!("{CONFIG_MAPS}/a");
        server.admin.delete(&format!("{path}?propagationPolicy={policy}")).await.unwrap();
        match (server.admin.get(&path).await, finalizer) {
            (Ok(found), Some(finalizer)) => {
                assert_eq!(found["metadata"]["finalizers"], json!([finalizer]));
                server.admin.merge(&path, json!({"metadata": {"finalizers": null}})).await.unwrap();
            }
            (Err((404, _)), None) => {}
            (found, _) => panic!("{policy}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_namespace_goes_when_its_contents_are_gone() {
    let server = Server::start().await;
    let namespaces = "/api/v1/namespaces";
    server.admin.create(namespaces, json!({"metadata": {"name": "a"}})).await.unwrap();
    let path = format!("{namespaces}/a");
    let mut marked = server.admin.delete(&path).await.unwrap();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let contents = format!("{path}/configmaps");
    let late = server.admin.create(&contents, json!({"metadata": {"name": "c"}})).await;
    let (code, message) = late.unwrap_err();
    assert_eq!(code, 403);
    assert!(message.contains("because it is being terminated"), "{message}");
    marked["spec"]["finalizers"] = json!([]);
    server.admin.update(&format!("{path}/finalize"), &marked).await.unwrap();
    assert_eq!(server.admin.get(&path).await.unwrap_err().0, 404);
    let (code, message) = server.admin.delete(&format!("{namespaces}/default")).await.unwrap_err();
    assert_eq!(code, 403);
    assert!(message.ends_with("this namespace may not be deleted"), "{message}");
}

#[tokio::test]
async fn an_eviction_asks_the_disruption_budget() {
    let server = Server::start().await;
    account(&server).await;
    let mut object = pod("p");
    object["metadata"]["labels"] = json!({"app": "a"});
    server.admin.create(PODS, object).await.unwrap();
    bind(&server, "p").await;
    let running = json!({"status": {"phase": "Running"}});
    server.admin.merge(&format!("{PODS}/p/status"), running).await.unwrap();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    });
    server.admin.create(budgets, budget).await.unwrap();
    let status = |allowed| json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    server.admin.merge(&format!("{budgets}/b/status"), status(0)).await.unwrap();
    let evict = || {
        server.admin.create(
            "/api/v1/namespaces/default/pods/p/eviction",
            json!({"metadata": {"name": "p"}}),
        )
    };
    let (code, message) = evict().await.unwrap_err();
    assert_eq!(code, 429);
    assert!(message.starts_with("Cannot evict pod"), "{message}");
    server.admin.merge(&format!("{budgets}/b/status"), status(1)).await.unwrap();
    evict().await.unwrap();
    let found = server.admin.get(&format!("{PODS}/p")).await.unwrap();
    assert!(found["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn everything_outlives_a_restart() {
    let server = Server::start().await;
    let created =
        server.admin.create(CONFIG_MAPS, json!({"metadata": {"name": "a"}})).await.unwrap();
    let server = server.restart().await;
    assert_eq!(server.admin.get(&format!("{CONFIG_MAPS}/a")).await.unwrap(), created);
}
