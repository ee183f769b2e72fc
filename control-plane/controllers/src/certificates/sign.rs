//! Signs approved requests with the cluster's authority.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skep_auth::pki::{Authority, Request};

use super::{
    CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN, condition, is_issued,
    kubelet_client_refusal, kubelet_serving_refusal, parse, parse_usages, usages, usages_are,
};
use crate::Error;
use crate::runtime::{Context, Informer, Key, Next, Objects, Queue, Reconcile};

/// The controller's name.
pub(crate) const NAME: &str = "certificatesigningrequest-signing-controller";

/// No certificate is valid for less.
const SHORTEST: Duration = Duration::from_secs(600);

struct Signer {
    requests: Arc<Informer<CertificateSigningRequest>>,
    objects: Objects,
    authority: Authority,
    longest: Duration,
}

/// Sets up the controller; certificates are valid for at most `longest`.
pub(crate) fn set_up(
    context: &mut Context,
    objects: Objects,
    workers: usize,
    authority: Authority,
    longest: Duration,
) {
    let mut controller = context.controller(NAME, objects);
    let requests = controller.informer::<CertificateSigningRequest>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        requests.subscribe(move |change| {
            if let Some(request) = change.new {
                queue.add(Key::of(&request.metadata));
            }
        });
    }
    let objects = controller.objects();
    controller.run(queue, workers, Signer { requests, objects, authority, longest });
}

/// Approved, not refused, and not yet done with either way.
fn is_waiting(request: &CertificateSigningRequest) -> bool {
    condition(request, "Approved").is_some()
        && condition(request, "Denied").is_none()
        && condition(request, "Failed").is_none()
        && !is_issued(request)
}

/// Why this signer cannot sign the request, if it cannot.
fn refusal(signer: &str, parsed: &Request, usages: &[&str]) -> Option<&'static str> {
    match signer {
        KUBELET_CLIENT => kubelet_client_refusal(parsed, usages),
        KUBELET_SERVING => kubelet_serving_refusal(parsed, usages),
        CLIENT => {
            let fine =
                usages_are(usages, &["client auth"], &["digital signature", "key encipherment"]);
            (!fine).then_some("the usages are not those of a client")
        }
        _ => None,
    }
}

fn lifetime(request: &CertificateSigningRequest, longest: Duration) -> Duration {
    match request.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) => Duration::from_secs(seconds).clamp(SHORTEST.min(longest), longest),
        None => longest,
    }
}

impl Reconcile for Signer {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.cache().get(key) else { return Ok(Next::Change) };
        let signer = request.spec.signer_name.as_str();
        let ours = [KUBELET_CLIENT, KUBELET_SERVING, CLIENT, LEGACY_UNKNOWN].contains(&signer);
        if !ours || !is_waiting(&request) {
            return Ok(Next::Change);
        }
        let parsed = parse(&request)?;
        let mut done = CertificateSigningRequest::clone(&request);
        let status = done.status.get_or_insert_default();
        match refusal(signer, &parsed, &usages(&request)) {
            // What nobody checks is not marked: another signer may want it.
            Some(_) if signer == LEGACY_UNKNOWN => return Ok(Next::Change),
            Some(why) => {
                status.conditions.get_or_insert_default().push(failed(why, Timestamp::now()));
            }
            None => {
                let usages = parse_usages(&request)?;
                let profile = parsed.profile(usages, lifetime(&request, self.longest));
                let pem = self.authority.sign(&parsed, &profile, SystemTime::now());
                let pem = pem.map_err(|error| Error::Certificate(error.to_string()))?;
                status.certificate = Some(ByteString(pem.into_bytes()));
            }
        }
        self.objects.replace_status(&done).await?;
        Ok(Next::Change)
    }
}

fn failed(why: &str, now: Timestamp) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: "Failed".into(),
        status: "True".into(),
        reason: Some("SignerValidationFailure".into()),
        message: Some(why.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(spec: &Value, conditions: &[&str]) -> CertificateSigningRequest {
        let mut whole = json!({"signerName": "s", "request": ""});
        json_patch::merge(&mut whole, spec);
        let conditions: Vec<Value> =
            conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        let object = json!({"metadata": {}, "spec": whole, "status": {"conditions": conditions}});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn only_what_is_approved_and_not_done_waits() {
        for (conditions, expected) in [
            (vec![], false),
            (vec!["Approved"], true),
            (vec!["Approved", "Denied"], false),
            (vec!["Approved", "Failed"], false),
        ] {
            assert_eq!(is_waiting(&request(&json!({}), &conditions)), expected, "{conditions:?}");
        }
    }

    #[test]
    fn the_lifetime_asked_for_is_kept_within_bounds() {
        let longest = Duration::from_secs(3600);
        for (asked, expected) in [
            (json!({}), 3600),
            (json!({"expirationSeconds": 1200}), 1200),
            (json!({"expirationSeconds": 5}), 600),
            (json!({"expirationSeconds": 86400}), 3600),
        ] {
            assert_eq!(lifetime(&request(&asked, &[]), longest).as_secs(), expected);
        }
    }
}
