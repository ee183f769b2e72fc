//! Deletes jobs some time after they have finished, where they ask for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, Preconditions};

use crate::Error;
use crate::runtime::{Context, Informer, Key, Next, Objects, Queue, Reconcile, is_not_found};

/// The controller's name.
pub(crate) const NAME: &str = "ttl-after-finished-controller";

struct JobTtl {
    jobs: Arc<Informer<Job>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects) {
    let mut controller = context.controller(NAME, objects);
    let jobs = controller.informer::<Job>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        jobs.subscribe(move |change| {
            if let Some(job) = change.new {
                queue.add(Key::of(&job.metadata));
            }
        });
    }
    let objects = controller.objects();
    controller.run(queue, 2, JobTtl { jobs, objects });
}

/// When the job is to go, if it is.
fn end(job: &Job) -> Option<Timestamp> {
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.iter().flatten();
    let finished = { conditions }.find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })?;
    let at = finished.last_transition_time.as_ref()?.0;
    Some(at + SignedDuration::from_secs(ttl.into()))
}

impl Reconcile for JobTtl {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let now = Timestamp::now();
        let left = |job: &Job| end(job).map(|end| end.duration_since(now));
        let Some(job) = self.jobs.cache().get(key) else { return Ok(Next::Change) };
        let Some(wait) = left(&job) else { return Ok(Next::Change) };
        if let Some(wait) = Duration::try_from(wait).ok().filter(|wait| !wait.is_zero()) {
            return Ok(Next::After(wait));
        }
        // Somebody may have asked for more time since the cache was filled.
        let job: Job = match self.objects.get(key).await {
            Err(error) if is_not_found(&error) => return Ok(Next::Change),
            result => result?,
        };
        match left(&job) {
            None => return Ok(Next::Change),
            Some(wait) if wait.is_positive() => {
                return Ok(Next::After(Duration::try_from(wait).unwrap_or_default()));
            }
            Some(_) => {}
        }
        let same = Preconditions {
            uid: job.metadata.uid.clone(),
            resource_version: job.metadata.resource_version.clone(),
        };
        match self.objects.delete::<Job>(key, &DeleteParams::foreground().preconditions(same)).await
        {
            Err(error) if !is_not_found(&error) => Err(error.into()),
            _ => Ok(Next::Change),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finished_job_goes_when_its_time_is_over() {
        let finished = json!([
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let running = json!([{"type": "Suspended", "status": "False"}]);
        for (ttl, conditions, expected) in [
            (Some(60), &finished, Some("2026-01-01T00:01:00Z")),
            (Some(0), &finished, Some("2026-01-01T00:00:00Z")),
            (None, &finished, None),
            (Some(60), &running, None),
        ] {
            let job = serde_json::from_value(json!({
                "metadata": {}, "status": {"conditions": conditions},
                "spec": {"template": {}, "ttlSecondsAfterFinished": ttl},
            }))
            .unwrap();
            assert_eq!(end(&job).map(|end| end.to_string()).as_deref(), expected);
        }
    }
}
