//! Who may do what: TLS, certificates, tokens, roles, reviews.

use std::time::SystemTime;

use http::Request;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use skep_auth::pki::{Profile, Subject};

use crate::server::Server;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A client over HTTPS.
async fn over_https(server: &Server, user: Value) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = std::fs::read(server.folder.path().join("pki/ca.crt")).unwrap();
    let cluster = json!({
        "server": format!("https://{}", server.address()),
        "certificate-authority-data": base64(&authority),
    });
    let config: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }))
    .unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn get(client: &kube::Client, path: &str) -> Result<Value, u16> {
    match client.request(Request::get(path).body(Vec::new()).unwrap()).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn who(client: &kube::Client) -> Value {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let request = request.header("content-type", "application/json");
    let review: Value =
        client.request(request.body(review.to_string().into()).unwrap()).await.unwrap();
    review["status"]["userInfo"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_what_upstream_tells_them() {
    let server = Server::start().await;
    let stranger = over_https(&server, json!({})).await;
    assert_eq!(get(&stranger, "/version").await.unwrap()["minor"], "37");
    for path in ["/healthz", "/livez", "/readyz"] {
        let request = Request::get(path).body(Vec::new()).unwrap();
        assert_eq!(stranger.request_text(request).await.unwrap(), "ok");
    }
    let authority = stranger.request_text(Request::get("/cacerts").body(Vec::new()).unwrap());
    assert_eq!(authority.await.unwrap(), server.running.root_ca_pem);
    for path in ["/metrics", "/api", CONFIG_MAPS] {
        assert_eq!(get(&stranger, path).await.unwrap_err(), 403, "{path}");
    }
    let forged = json!({"token": "a.b.c"});
    assert_eq!(get(&over_https(&server, forged).await, "/version").await.unwrap_err(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_a_user_and_a_role_counts_at_once() {
    let server = Server::start().await;
    let profile = Profile::client(Subject::member("alice", "writers"), DAY);
    let identity = server.running.authority.issue(&profile, SystemTime::now()).unwrap();
    let alice = json!({
        "client-certificate-data": base64(identity.certificate_pem.as_bytes()),
        "client-key-data": base64(identity.key_pem.as_bytes()),
    });
    let alice = over_https(&server, alice).await;
    let user = who(&alice).await;
    assert_eq!(user["username"], "alice");
    assert_eq!(user["groups"], json!(["writers", "system:authenticated"]));
    assert_eq!(get(&alice, CONFIG_MAPS).await.unwrap_err(), 403);

    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    server.admin.create(&format!("{roles}/roles"), role).await.unwrap();
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "writers"}],
    });
    server.admin.create(&format!("{roles}/rolebindings"), binding).await.unwrap();
    assert!(get(&alice, CONFIG_MAPS).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lives_as_long_as_its_account() {
    let server = Server::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.admin.create(accounts, json!({"metadata": {"name": "robot"}})).await.unwrap();
    let request = json!({"spec": {"expirationSeconds": 600}});
    let answer = server.admin.create(&format!("{accounts}/robot/token"), request).await.unwrap();
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let auth = json!({"token": token});
    let robot = over_https(&server, auth).await;
    assert_eq!(who(&robot).await["username"], "system:serviceaccount:default:robot");

    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = server.admin.create(reviews, json!({"spec": {"token": token}})).await.unwrap();
    assert_eq!(review["status"]["authenticated"], true);
    server.admin.delete(&format!("{accounts}/robot")).await.unwrap();
    assert_eq!(get(&robot, "/version").await.unwrap_err(), 401);
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let server = Server::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    let rules =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]}]);
    let rules = json!([rules[0], {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    // Every verb on roles is also `escalate` and `bind`: name the harmless ones.
    let mut rules = rules;
    rules[0]["verbs"] = json!(["create", "get", "update"]);
    let role = json!({"metadata": {"name": "keeper"}, "rules": rules});
    server.admin.create(&format!("{roles}/clusterroles"), role).await.unwrap();
    let binding = json!({
        "metadata": {"name": "keeper"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keeper"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
    });
    server.admin.create(&format!("{roles}/clusterrolebindings"), binding).await.unwrap();
    let bob = server.user("bob", &[]);
    let wanted = |resource: &str| json!({"metadata": {"name": resource}, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]});
    bob.create(&format!("{roles}/clusterroles"), wanted("pods")).await.unwrap();
    let (code, message) =
        bob.create(&format!("{roles}/clusterroles"), wanted("secrets")).await.unwrap_err();
    assert_eq!(code, 403);
    assert!(
        message.contains("attempting to grant RBAC permissions not currently held"),
        "{message}"
    );
}

#[tokio::test]
async fn a_node_writes_itself_and_nobody_else() {
    let server = Server::start().await;
    let node = server.user("system:node:n1", &["system:nodes"]);
    let nodes = "/api/v1/nodes";
    let created = node.create(nodes, json!({"metadata": {"name": "n1"}})).await.unwrap();
    assert_eq!(created["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
    assert_eq!(node.create(nodes, json!({"metadata": {"name": "n2"}})).await.unwrap_err().0, 403);
    assert_eq!(node.get("/api/v1/namespaces/default/secrets/s").await.unwrap_err().0, 403);
}

#[tokio::test]
async fn one_may_act_as_another_if_allowed_to() {
    let server = Server::start().await;
    let ask = async |client: &kube::Client| {
        let request = Request::get(CONFIG_MAPS).header("impersonate-user", "eve");
        match client.request::<Value>(request.body(Vec::new()).unwrap()).await {
            Err(kube::Error::Api(status)) => status.message,
            other => panic!("{other:?}"),
        }
    };
    let message = ask(&server.admin.client).await;
    assert!(message.contains("User \"eve\" cannot list resource \"configmaps\""), "{message}");
    let message = ask(&server.user("bob", &[]).client).await;
    assert!(message.contains("User \"bob\" cannot impersonate resource \"users\""), "{message}");
}

#[tokio::test]
async fn reviews_answer_for_oneself_and_for_others() {
    let server = Server::start().await;
    let group = "/apis/authorization.k8s.io/v1";
    let attributes = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let own = json!({"spec": {"resourceAttributes": attributes}});
    let allowed = async |asker: &crate::server::Asker, path: &str, review: Value| {
        asker.create(&format!("{group}/{path}"), review).await.unwrap()["status"]["allowed"].clone()
    };
    assert_eq!(allowed(&server.admin, "selfsubjectaccessreviews", own.clone()).await, true);
    let bob = server.user("bob", &[]);
    assert_eq!(allowed(&bob, "selfsubjectaccessreviews", own).await, false);
    let other = json!({"spec": {"user": "bob", "resourceAttributes": attributes}});
    assert_eq!(allowed(&server.admin, "subjectaccessreviews", other).await, false);
    let rules = json!({"spec": {"namespace": "default"}});
    let rules = bob.create(&format!("{group}/selfsubjectrulesreviews"), rules).await.unwrap();
    assert!(rules["status"]["resourceRules"].as_array().is_some_and(|rules| !rules.is_empty()));
}
