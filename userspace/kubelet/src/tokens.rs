//! Service-account tokens for pods: asked for once, kept while they are young, asked for again long
//! before they end.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::identity::PodId;

/// A token is used no longer than this, however long it would live.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pod: String,
    account: String,
    audience: Option<String>,
    seconds: Option<i64>,
}

#[derive(Clone, Debug)]
struct Issued {
    token: String,
    at: Timestamp,
    expires: Timestamp,
}

/// The tokens of the pods on this node.
pub(crate) struct Tokens {
    client: Client,
    kept: Mutex<HashMap<Key, Issued>>,
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// A token for this pod that has a good part of its life before it.
    pub(crate) async fn token(
        &self,
        pod: &Pod,
        id: &PodId,
        wish: &ServiceAccountTokenProjection,
    ) -> kube::Result<String> {
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let key = Key {
            pod: id.uid.clone(),
            account: account.unwrap_or_else(|| "default".into()),
            audience: wish.audience.clone(),
            seconds: wish.expiration_seconds,
        };
        let kept = self.kept.lock().get(&key).cloned();
        let now = Timestamp::now();
        if let Some(kept) = &kept
            && !is_due(kept, now)
        {
            return Ok(kept.token.clone());
        }
        match self.request(id, &key).await {
            Ok(issued) => {
                let token = issued.token.clone();
                self.kept.lock().insert(key, issued);
                Ok(token)
            }
            // An old token is better than none while the API server is away.
            Err(error) => kept.filter(|kept| kept.expires > now).map(|k| k.token).ok_or(error),
        }
    }

    /// Drops the tokens of a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.kept.lock().retain(|key, _| key.pod != uid);
    }

    async fn request(&self, id: &PodId, key: &Key) -> kube::Result<Issued> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: key.audience.clone().map(|audience| vec![audience]),
                expiration_seconds: key.seconds,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(id.name.clone()),
                    uid: Some(id.uid.clone()),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &id.namespace);
        let answer =
            accounts.create_token_request(&key.account, &PostParams::default(), &request).await?;
        let at = Timestamp::now();
        let status = answer.status.unwrap_or_default();
        Ok(Issued {
            token: status.token.unwrap_or_default(),
            at,
            expires: status.expiration_timestamp.map_or(at, |time| time.0),
        })
    }
}

/// Past four fifths of its life, or a day old.
fn is_due(issued: &Issued, now: Timestamp) -> bool {
    let life = issued.expires.duration_since(issued.at);
    let age = now.duration_since(issued.at);
    age >= OLDEST || age * 5 >= life * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_before_the_end() {
        let at = Timestamp::from_second(1_000_000).unwrap();
        for (life, age, due) in [
            (3600, 0, false),
            (3600, 2879, false),
            (3600, 2880, true),
            (3600, 4000, true),
            (86_400 * 365, 86_399, false),
            (86_400 * 365, 86_400, true),
        ] {
            let issued =
                Issued { token: String::new(), at, expires: at + SignedDuration::from_secs(life) };
            let now = at + SignedDuration::from_secs(age);
            assert_eq!(is_due(&issued, now), due, "age {age} of {life}");
        }
    }
}
