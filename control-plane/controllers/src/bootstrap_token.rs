//! Deletes bootstrap tokens that have expired.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::{Client, ResourceExt};
use tracing::{debug, info};

use crate::runtime::{Context, Objects, RequestError};

/// The controller's name.
pub(crate) const NAME: &str = "token-cleaner-controller";

const NAMESPACE: &str = "kube-system";
const OF_TYPE: &str = "type=bootstrap.kubernetes.io/token";
/// Secrets are not cached (they are secret, and many): the few tokens are listed now and then.
const PERIOD: Duration = Duration::from_secs(60);

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects) {
    let controller = context.controller(NAME, objects);
    let client = controller.objects().client().clone();
    controller.spawn(async move {
        loop {
            if let Err(error) = clean(&client, Timestamp::now()).await {
                debug!(%error, "tokens not looked at");
            }
            tokio::time::sleep(PERIOD).await;
        }
    });
}

async fn clean(client: &Client, now: Timestamp) -> Result<(), RequestError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    for secret in secrets.list(&ListParams::default().fields(OF_TYPE)).await? {
        if is_expired(&secret, now) {
            let name = secret.name_any();
            info!(token = name, "expired");
            let same = Preconditions { uid: secret.uid(), resource_version: None };
            secrets.delete(&name, &DeleteParams::default().preconditions(same)).await?;
        }
    }
    Ok(())
}

/// A token without an expiry, or with one that cannot be read, is left to its owner.
fn is_expired(secret: &Secret, now: Timestamp) -> bool {
    let expiry = secret.data.as_ref().and_then(|data| data.get("expiration"));
    let expiry = expiry.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()?.parse().ok());
    expiry.is_some_and(|expiry: Timestamp| expiry <= now)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn only_what_has_expired_goes() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (expiration, expected) in [
            (None, false),
            (Some("2026-01-01T11:59:59Z"), true),
            (Some("2026-01-01T13:00:00+01:00"), true),
            (Some("2026-01-01T12:00:01Z"), false),
            (Some("soon"), false),
        ] {
            let data = expiration.map(|text| {
                [("expiration".to_owned(), ByteString(text.as_bytes().to_vec()))].into()
            });
            let secret = Secret { data, ..Secret::default() };
            assert_eq!(is_expired(&secret, now), expected, "{expiration:?}");
        }
    }
}
