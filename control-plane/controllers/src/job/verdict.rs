//! Whether a job is over, and how.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::indexes::Indexes;
use super::ledger::Ledger;

/// How a job ends. The first condition says so as soon as it is known, the last one when all of its
/// pods are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) success: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Verdict {
    fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self { success: false, reason: reason.into(), message: message.into() }
    }

    fn success(reason: &str, message: impl Into<String>) -> Self {
        Self { success: true, reason: reason.into(), message: message.into() }
    }

    pub(super) fn first(&self) -> &'static str {
        if self.success { "SuccessCriteriaMet" } else { "FailureTarget" }
    }

    pub(super) fn last(&self) -> &'static str {
        if self.success { "Complete" } else { "Failed" }
    }

    pub(super) fn condition(&self, kind: &str, now: Timestamp) -> JobCondition {
        JobCondition {
            type_: kind.into(),
            status: "True".into(),
            reason: Some(self.reason.clone()),
            message: Some(self.message.clone()),
            last_probe_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        }
    }
}

fn is_true<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.iter().flatten();
    { conditions }.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// The last condition is there.
pub(super) fn is_finished(job: &Job) -> bool {
    let status = job.status.as_ref();
    status.is_some_and(|s| is_true(s, "Complete").is_some() || is_true(s, "Failed").is_some())
}

/// Judges a job by what it has come to. What was once decided stays.
pub(super) fn verdict(
    spec: &JobSpec,
    status: &JobStatus,
    ledger: &Ledger,
    active: usize,
    now: Timestamp,
) -> Option<Verdict> {
    for (kind, success) in [("SuccessCriteriaMet", true), ("FailureTarget", false)] {
        if let Some(known) = is_true(status, kind) {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (reason, message) = (text(&known.reason), text(&known.message));
            return Some(Verdict { success, reason, message });
        }
    }
    if let Some(why) = &ledger.fatal {
        return Some(Verdict::failure("PodFailurePolicy", why));
    }
    if ledger.failed > spec.backoff_limit.unwrap_or(6) {
        let message = "Job has reached the specified backoff limit";
        return Some(Verdict::failure("BackoffLimitExceeded", message));
    }
    if until_deadline(spec, status, now).is_some_and(|left| !left.is_positive()) {
        let message = "Job was active longer than specified deadline";
        return Some(Verdict::failure("DeadlineExceeded", message));
    }
    if let Some(message) = success_policy(spec, ledger) {
        return Some(Verdict::success("SuccessPolicy", message));
    }
    let complete = match spec.completions {
        None => ledger.succeeded > 0 && active == 0,
        Some(completions) => ledger.succeeded >= completions && active == 0,
    };
    complete.then(|| {
        Verdict::success("CompletionsReached", "Reached expected number of succeeded pods")
    })
}

/// How long the job may still run; nothing when it may run for ever or is suspended.
pub(super) fn until_deadline(
    spec: &JobSpec,
    status: &JobStatus,
    now: Timestamp,
) -> Option<SignedDuration> {
    let seconds = spec.active_deadline_seconds.filter(|_| spec.suspend != Some(true))?;
    let start = status.start_time.as_ref()?.0;
    Some(SignedDuration::from_secs(seconds) - now.duration_since(start))
}

/// Enough indexes are done, by the job's own rules.
fn success_policy(spec: &JobSpec, ledger: &Ledger) -> Option<String> {
    let end = u32::try_from(spec.completions?).ok()?;
    let rules = spec.success_policy.iter().flat_map(|policy| &policy.rules);
    { rules }.enumerate().find_map(|(index, rule)| {
        let chosen = rule.succeeded_indexes.as_ref().map(|text| Indexes::parse(text, end));
        let done = chosen.as_ref().map_or(ledger.done.len(), |chosen| chosen.common(&ledger.done));
        let needed = match (rule.succeeded_count, &chosen) {
            (Some(count), _) => usize::try_from(count).ok()?,
            (None, Some(chosen)) => chosen.len(),
            (None, None) => return None,
        };
        (done >= needed).then(|| format!("Matched rules at index {index}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(spec: &Value, status: &Value, active: usize) -> Option<String> {
        let mut whole = json!({"template": {}});
        json_patch::merge(&mut whole, spec);
        let spec = serde_json::from_value(whole).unwrap();
        let status = serde_json::from_value(status.clone()).unwrap();
        let ledger = Ledger::read(&spec, &status, &[]);
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        verdict(&spec, &status, &ledger, active, now).map(|verdict| verdict.reason)
    }

    #[test]
    fn verdicts() {
        let start = "2026-01-01T00:00:00Z";
        let indexed = |policy: Value| json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [policy]}});
        let done = json!({"completedIndexes": "0,2"});
        let cases = [
            (json!({"completions": 2}), json!({"succeeded": 1}), 0, None),
            (json!({"completions": 2}), json!({"succeeded": 2}), 0, Some("CompletionsReached")),
            (json!({"completions": 2}), json!({"succeeded": 2}), 1, None),
            (json!({}), json!({"succeeded": 1}), 1, None),
            (json!({}), json!({"succeeded": 1}), 0, Some("CompletionsReached")),
            (json!({"backoffLimit": 2}), json!({"failed": 2}), 1, None),
            (json!({"backoffLimit": 2}), json!({"failed": 3}), 1, Some("BackoffLimitExceeded")),
            (
                json!({"activeDeadlineSeconds": 600}),
                json!({"startTime": start}),
                1,
                Some("DeadlineExceeded"),
            ),
            (json!({"activeDeadlineSeconds": 601}), json!({"startTime": start}), 1, None),
            (
                json!({"activeDeadlineSeconds": 1, "suspend": true}),
                json!({"startTime": start}),
                0,
                None,
            ),
            (indexed(json!({"succeededCount": 2})), done.clone(), 3, Some("SuccessPolicy")),
            (indexed(json!({"succeededIndexes": "0,1"})), done.clone(), 3, None),
            (
                indexed(json!({"succeededIndexes": "0-2", "succeededCount": 2})),
                done,
                3,
                Some("SuccessPolicy"),
            ),
            (
                json!({"completions": 2}),
                json!({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "Once"}]}),
                0,
                Some("Once"),
            ),
        ];
        for (spec, status, active, expected) in cases {
            assert_eq!(judged(&spec, &status, active).as_deref(), expected, "{spec} {status}");
        }
    }
}
