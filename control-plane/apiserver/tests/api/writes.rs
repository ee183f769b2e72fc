//! Creating, updating, patching.

use http::Method;
use serde_json::json;

use crate::server::Server;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn an_update_must_build_on_the_newest_version() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let first = server.admin.create(CONFIG_MAPS, config_map("a")).await.unwrap();
    let mut second = first.clone();
    second["data"]["a"] = "2".into();
    let written = server.admin.update(&path, &second).await.unwrap();
    assert_ne!(written["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(written["metadata"]["uid"], first["metadata"]["uid"]);

    let (code, message) = server.admin.update(&path, &first).await.unwrap_err();
    assert_eq!(code, 409);
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let again = server.admin.update(&path, &written).await.unwrap();
    assert_eq!(again, written, "an update that changes nothing writes nothing");
    let mut unconditional = first;
    unconditional["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    server.admin.update(&path, &unconditional).await.unwrap();
}

#[tokio::test]
async fn names_are_unique_and_generated_on_demand() {
    let server = Server::start().await;
    server.admin.create(CONFIG_MAPS, config_map("a")).await.unwrap();
    let (code, message) = server.admin.create(CONFIG_MAPS, config_map("a")).await.unwrap_err();
    assert_eq!((code, message.as_str()), (409, "configmaps \"a\" already exists"));
    let generated = json!({"metadata": {"generateName": "gen-"}});
    let generated = server.admin.create(CONFIG_MAPS, generated).await.unwrap();
    let name = generated["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn every_form_of_patch_is_applied_and_apply_is_refused() {
    let server = Server::start().await;
    server.admin.create(CONFIG_MAPS, config_map("a")).await.unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    let patches = [
        ("application/merge-patch+json", r#"{"data":{"a":null,"b":"2"}}"#),
        ("application/strategic-merge-patch+json", r#"{"data":{"c":"3"}}"#),
        ("application/json-patch+json", r#"[{"op":"add","path":"/data/d","value":"4"}]"#),
    ];
    for (content_type, patch) in patches {
        server.admin.ask(Method::PATCH, &path, content_type, patch.into()).await.unwrap();
    }
    let found = server.admin.get(&path).await.unwrap();
    assert_eq!(found["data"], json!({"b": "2", "c": "3", "d": "4"}));
    let apply = server.admin.ask(Method::PATCH, &path, "application/apply-patch+yaml", "{}".into());
    assert_eq!(apply.await.unwrap_err().0, 415);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    let answer = server.admin.create(&path, config_map("a")).await.unwrap();
    assert!(answer["metadata"]["uid"].is_string());
    assert_eq!(server.admin.get(&format!("{CONFIG_MAPS}/a")).await.unwrap_err().0, 404);
}

#[tokio::test]
async fn status_and_specification_are_written_apart() {
    let server = Server::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
        "status": {"replicas": 7},
    });
    let created = server.admin.create(path, deployment).await.unwrap();
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["status"].get("replicas"), None);
    let path = format!("{path}/web");
    let status = json!({"spec": {"replicas": 9}, "status": {"replicas": 2}});
    let patched = server.admin.merge(&format!("{path}/status"), status).await.unwrap();
    assert_eq!(
        (&patched["spec"]["replicas"], &patched["status"]["replicas"]),
        (&2.into(), &2.into())
    );
    assert_eq!(patched["metadata"]["generation"], 1);

    let scale = server.admin.get(&format!("{path}/scale")).await.unwrap();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&"Scale".into(), &2.into()));
    let scale = json!({"spec": {"replicas": 5}});
    server.admin.merge(&format!("{path}/scale"), scale).await.unwrap();
    let found = server.admin.get(&path).await.unwrap();
    assert_eq!(
        (&found["spec"]["replicas"], &found["metadata"]["generation"]),
        (&5.into(), &2.into())
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_as_upstream_tells_it() {
    let server = Server::start().await;
    let cases = [
        (
            "/api/v1/namespaces/absent/configmaps",
            config_map("a"),
            404,
            "namespaces \"absent\" not found",
        ),
        (
            CONFIG_MAPS,
            json!({"metadata": {"name": "A_B"}}),
            422,
            "ConfigMap \"A_B\" is invalid: metadata.name: Invalid value",
        ),
        (
            CONFIG_MAPS,
            json!({"kind": "Pod", "apiVersion": "v1"}),
            400,
            "Pod in version \"v1\" cannot be handled as a ConfigMap",
        ),
        (
            CONFIG_MAPS,
            json!({"metadata": {"name": "a", "namespace": "b"}}),
            400,
            "the namespace of the provided object does not match",
        ),
        (
            "/api/v1/namespaces/default/nothings",
            json!({}),
            404,
            "the server could not find the requested resource",
        ),
    ];
    for (path, object, code, message) in cases {
        let (found, text) = server.admin.create(path, object).await.unwrap_err();
        assert_eq!(found, code, "{path}: {text}");
        assert!(text.starts_with(message), "{path}: {text}");
    }
}

#[tokio::test]
async fn services_share_no_address_and_no_port() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/services";
    let service =
        |name: &str, spec: serde_json::Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    let first = json!({"type": "NodePort", "ports": ports});
    let first = server.admin.create(path, service("a", first)).await.unwrap();
    let address = first["spec"]["clusterIP"].clone();
    assert!(address.as_str().unwrap().starts_with("10.96."), "{address}");
    for spec in [
        json!({"clusterIP": address, "ports": [{"port": 80}]}),
        json!({"type": "NodePort", "ports": ports}),
    ] {
        let (code, message) = server.admin.create(path, service("b", spec)).await.unwrap_err();
        assert_eq!(code, 422);
        assert!(message.ends_with("is already allocated"), "{message}");
    }
    // Also the server that comes after knows what is taken, and gives back what is deleted.
    let server = server.restart().await;
    let spec = json!({"clusterIP": address, "ports": [{"port": 80}]});
    assert_eq!(server.admin.create(path, service("b", spec.clone())).await.unwrap_err().0, 422);
    server.admin.delete(&format!("{path}/a")).await.unwrap();
    server.admin.create(path, service("b", spec)).await.unwrap();
}
