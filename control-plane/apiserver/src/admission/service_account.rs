//! Every pod runs as a service account of its namespace and, unless it declines, finds a token that is
//! bound to it, the cluster's authority and its namespace in a projected volume.

use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::status::Status;
use skep_auth::serviceaccount::DEFAULT_PROJECTED_SECONDS;

use super::{Operation, Write};
use crate::objects::{Objects, text};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// A new namespace's account is a controller's work, which may be on its way.
const LOOKUPS: usize = 10;
const BETWEEN_LOOKUPS: Duration = Duration::from_millis(100);

pub(super) async fn complete(write: &mut Write<'_>) -> Result<(), Status> {
    if !write.is(Operation::Create, "", "pods") {
        return Ok(());
    }
    let Some(mut pod) = write.object.take() else { return Ok(()) };
    if pod["metadata"]["annotations"].get(MIRROR).is_none() {
        if text(&pod, "/spec/serviceAccountName").is_empty() {
            pod["spec"]["serviceAccountName"] = "default".into();
        }
        let account = account(write, text(&pod, "/spec/serviceAccountName")).await?;
        pod["spec"]["serviceAccount"] = pod["spec"]["serviceAccountName"].clone();
        if wants_token(&pod, &account) {
            mount_token(&mut pod);
        }
        if pod["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
            && let Some(secrets) = account.get("imagePullSecrets")
        {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
    }
    write.object = Some(pod);
    Ok(())
}

async fn account(write: &Write<'_>, name: &str) -> Result<Object, Status> {
    let accounts = Objects::named(write.server, "", "v1", "serviceaccounts");
    for attempt in 0..LOOKUPS {
        if attempt > 0 {
            tokio::time::sleep(BETWEEN_LOOKUPS).await;
        }
        if let Some(account) = accounts.get(write.namespace, name).await? {
            return Ok(account.object);
        }
    }
    Err(write.forbidden(format!(
        "error looking up service account {}/{name}: serviceaccount {name:?} not found",
        write.namespace
    )))
}

fn wants_token(pod: &Object, account: &Object) -> bool {
    let own = pod["spec"]["automountServiceAccountToken"].as_bool();
    own.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true)
}

fn mount_token(pod: &mut Object) {
    let volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let generated = |volume: &&Value| text(volume, "/name").starts_with("kube-api-access-");
    let known = volumes.iter().find(generated).map(|volume| text(volume, "/name").to_owned());
    let name = known.clone().unwrap_or_else(|| format!("kube-api-access-{}", suffix()));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            used = true;
            let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
            container["volumeMounts"] = mounts.into_iter().chain([mount]).collect();
        }
    }
    if used && known.is_none() {
        pod["spec"]["volumes"] = volumes.into_iter().chain([volume(&name)]).collect();
    }
}

fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {
                    "expirationSeconds": DEFAULT_PROJECTED_SECONDS,
                    "path": "token",
                }},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

fn suffix() -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5).map(|_| letters[random.random_range(..letters.len())] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_without_a_mount_of_its_own_gets_the_token() {
        let own = json!([{"name": "mine", "mountPath": MOUNT_PATH}]);
        let mut pod = json!({"spec": {
            "initContainers": [{"name": "a"}],
            "containers": [{"name": "b"}, {"name": "c", "volumeMounts": own}],
        }});
        mount_token(&mut pod);
        let name = text(&pod, "/spec/volumes/0/name").to_owned();
        assert!(name.starts_with("kube-api-access-"));
        assert_eq!(text(&pod, "/spec/initContainers/0/volumeMounts/0/name"), name);
        assert_eq!(text(&pod, "/spec/containers/0/volumeMounts/0/name"), name);
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"], own);
    }

    #[test]
    fn the_pod_decides_before_the_account() {
        let cases = [
            (json!({"spec": {}}), json!({}), true),
            (json!({"spec": {}}), json!({"automountServiceAccountToken": false}), false),
            (
                json!({"spec": {"automountServiceAccountToken": true}}),
                json!({"automountServiceAccountToken": false}),
                true,
            ),
            (json!({"spec": {"automountServiceAccountToken": false}}), json!({}), false),
        ];
        for (pod, account, expected) in cases {
            assert_eq!(wants_token(&pod, &account), expected, "{pod} {account}");
        }
    }
}
