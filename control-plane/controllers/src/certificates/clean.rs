//! Forgets requests that nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::DeleteParams;

use super::{condition, is_decided, is_issued};
use crate::Error;
use crate::runtime::{Context, Informer, Key, Next, Objects, Queue, Reconcile, is_not_found};

/// The controller's name.
pub(crate) const NAME: &str = "certificatesigningrequest-cleaner-controller";

/// What was approved and signed, what was refused or failed.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
/// What nobody decided about.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

struct Cleaner {
    requests: Arc<Informer<CertificateSigningRequest>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects) {
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
    controller.run(queue, 1, Cleaner { requests, objects });
}

/// How long the request may still stay.
fn left(request: &CertificateSigningRequest, now: Timestamp) -> SignedDuration {
    let created = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let decided = ["Approved", "Denied", "Failed"]
        .iter()
        .filter_map(|kind| condition(request, kind)?.last_update_time.as_ref().map(|time| time.0));
    // An approval that no signer has acted on waits as long as an undecided request.
    let done = condition(request, "Denied").is_some()
        || condition(request, "Failed").is_some()
        || (is_decided(request) && is_issued(request));
    let (since, keep) =
        if done { (decided.max().unwrap_or(created), DECIDED) } else { (created, PENDING) };
    keep - now.duration_since(since)
}

impl Reconcile for Cleaner {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.cache().get(key) else { return Ok(Next::Change) };
        match Duration::try_from(left(&request, Timestamp::now())) {
            Ok(left) if !left.is_zero() => Ok(Next::After(left)),
            _ => {
                let how = DeleteParams::default();
                match self.objects.delete::<CertificateSigningRequest>(key, &how).await {
                    Err(error) if !is_not_found(&error) => Err(error.into()),
                    _ => Ok(Next::Change),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_stay_an_hour_after_they_are_done_and_a_day_otherwise() {
        let now: Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
        let at = |kind: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T01:30:00Z"}]);
        // conditions, issued -> minutes left
        for (conditions, issued, expected) in [
            (json!([]), false, 22 * 60),
            (at("Approved"), false, 22 * 60),
            (at("Approved"), true, 30),
            (at("Denied"), false, 30),
            (at("Failed"), false, 30),
        ] {
            let request = serde_json::from_value(json!({
                "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"signerName": "s", "request": ""},
                "status": {"conditions": conditions, "certificate": issued.then_some("AAAA")},
            }))
            .unwrap();
            assert_eq!(left(&request, now).as_mins(), expected, "{conditions} {issued}");
        }
    }
}
