//! What a cluster has from its first moment, made when absent and kept: namespaces, default roles,
//! priority classes, the authorities' certificates, and the `kubernetes` Service that leads here.

use futures::future::try_join_all;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::status::{Reason, Status};
use skep_auth::authn::UserInfo;
use skep_auth::authn::user::MASTERS;
use skep_auth::policy;
use skep_store::Range;

use crate::ApiServer;
use crate::objects::{Objects, store_error};
use crate::services::Services;
use crate::verbs::create::Creation;
use crate::verbs::meta;
use crate::verbs::update::Change;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Takes from the store what the server keeps in memory beside it.
pub(crate) async fn remember(server: &ApiServer) -> Result<(), Status> {
    let services = Objects::named(server, "", "v1", "services");
    let range = Range::prefix(services.prefix(""));
    for kv in server.store().range(range).await.map_err(store_error)?.kvs {
        server.services().remember(&services.decode(&kv.value, kv.mod_revision)?);
    }
    Ok(())
}

/// Makes or completes everything.
pub(crate) async fn run(server: &ApiServer, service_ranges: &[ipnet::IpNet]) -> Result<(), Status> {
    let keeper = Keeper { server, user: UserInfo::new("system:apiserver", &[MASTERS]) };
    let namespaces = NAMESPACES.map(namespace);
    try_join_all(namespaces.iter().map(|object| keeper.ensure(object, |_| None))).await?;
    let mut objects = vec![
        priority_class("system-node-critical", 2_000_001_000),
        priority_class("system-cluster-critical", 2_000_000_000),
    ];
    objects.extend([authentication_config(server), token_tracking(), service_cidr(service_ranges)]);
    let roles = policy::defaults();
    let roles = roles.iter().map(|default| {
        keeper.ensure(&default.object, move |stored| policy::reconcile(stored, default))
    });
    let others = objects.iter().map(|object| keeper.ensure(object, |_| None));
    tokio::try_join!(try_join_all(roles), try_join_all(others))?;
    keeper.kubernetes(service_ranges[0]).await
}

/// Writes in the server's own name.
struct Keeper<'a> {
    server: &'a ApiServer,
    user: UserInfo,
}

impl Keeper<'_> {
    /// Creates an object; `complete` may change the one that is there already.
    async fn ensure(
        &self,
        object: &Object,
        complete: impl Fn(&Object) -> Option<Object> + Send + Sync,
    ) -> Result<(), Status> {
        let gvk = skep_api::GroupVersionKind::of(object)
            .ok_or_else(|| Status::internal("an object of the server's own has no kind"))?;
        let resource = self.server.registry().resource_of_kind(&gvk);
        let resource = resource.ok_or_else(|| Status::internal(format!("{gvk} is not served")))?;
        let (namespace, name) = (meta::text(object, "namespace"), meta::text(object, "name"));
        let (server, user) = (self.server, &self.user);
        let objects = Objects::named(server, &resource.group, &resource.version, &resource.plural);
        match objects.get(namespace, name).await? {
            None => {
                let creation = Creation { server, user, resource, namespace, dry_run: false };
                match creation.create(object.clone()).await {
                    Err(status) if status.reason == Reason::AlreadyExists => Ok(()),
                    other => other.map(drop),
                }
            }
            Some(stored) => {
                if complete(&stored.object).is_none() {
                    return Ok(());
                }
                let (subresource, dry_run) = (None, false);
                let change =
                    Change { server, user, resource, namespace, name, subresource, dry_run };
                let wanted = |old: &Object| Ok(complete(old).unwrap_or_else(|| old.clone()));
                change.run(wanted).await.map(drop)
            }
        }
    }

    /// The Service of the API server itself, and its endpoints.
    async fn kubernetes(&self, range: ipnet::IpNet) -> Result<(), Status> {
        let advertised = self.server.settings().advertise_address;
        let (address, port) = (advertised.ip().to_string(), advertised.port());
        let family = if advertised.is_ipv4() { "IPv4" } else { "IPv6" };
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": Services::first_address(range).to_string(),
                "sessionAffinity": "None",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            },
        });
        let mirrored = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": mirrored},
            "subsets": [{
                "addresses": [{"ip": address}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": family,
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        self.ensure(&service, |stored| replace(stored, &service, &["/spec/ports"])).await?;
        self.ensure(&endpoints, |stored| replace(stored, &endpoints, &["/subsets"])).await?;
        self.ensure(&slice, |stored| replace(stored, &slice, &["/endpoints", "/ports"])).await
    }
}

/// `stored` with these parts of `wanted`, unless it has them.
fn replace(stored: &Object, wanted: &Object, parts: &[&str]) -> Option<Object> {
    let differs = |part: &&&str| stored.pointer(part) != wanted.pointer(part);
    parts.iter().find(differs)?;
    let mut object = stored.clone();
    for part in parts {
        if let (Some(slot), Some(value)) = (object.pointer_mut(part), wanted.pointer(part)) {
            *slot = value.clone();
        }
    }
    Some(object)
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn priority_class(name: &str, value: i64) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": match name {
            "system-node-critical" => "Used for system critical pods that must not be moved from their current node.",
            _ => "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        },
    })
}

/// The ranges that Services get their addresses from.
fn service_cidr(ranges: &[ipnet::IpNet]) -> Value {
    let cidrs: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": cidrs},
    })
}

/// Since when tokens in Secrets are watched for use: from the beginning.
fn token_tracking() -> Value {
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "kube-apiserver-legacy-service-account-token-tracking",
            "namespace": "kube-system",
        },
        "data": {"since": today},
    })
}

/// Where extension API servers learn whose client certificates are good.
fn authentication_config(server: &ApiServer) -> Value {
    let settings = server.settings();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": settings.authority_pem,
            "requestheader-client-ca-file": settings.front_proxy_authority_pem,
            "requestheader-allowed-names": r#"["front-proxy-client"]"#,
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
            "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
        },
    })
}
