//! What to do next for a cron job, given the jobs it has started.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;

use super::schedule::{Problem, Schedule};
use crate::owner::controller_reference;
use crate::runtime::Event;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// A job to start, and the time it was due.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) job: Box<Job>,
    pub(super) at: Time,
}

/// The writes to do, and what to report after them.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) status: CronJobStatus,
    pub(super) start: Option<Start>,
    pub(super) delete: Vec<Arc<Job>>,
    /// Jobs that should be there and are not in the cache.
    pub(super) missing: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) next: Option<Duration>,
}

/// The job is among those that are said to run.
pub(super) fn is_active_in(status: &CronJobStatus, job: &Job) -> bool {
    status.active.iter().flatten().any(|known| known.uid == job.metadata.uid)
}

fn finished(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.iter().flatten();
    { conditions }.find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })
}

/// Decides for a cron job and the jobs it owns.
pub(super) fn decide(cron_job: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Decision {
    let mut decision = Decision {
        status: cron_job.status.clone().unwrap_or_default(),
        start: None,
        delete: Vec::new(),
        missing: Vec::new(),
        events: Vec::new(),
        next: None,
    };
    decision.take_stock(jobs);
    decision.trim_history(cron_job, jobs);
    if cron_job.metadata.deletion_timestamp.is_some() || cron_job.spec.suspend == Some(true) {
        return decision;
    }
    match Schedule::parse(&cron_job.spec) {
        Ok(schedule) => decision.follow(cron_job, jobs, &schedule, now),
        Err(problem) => decision.events.push(complaint(cron_job, problem)),
    }
    decision
}

fn complaint(cron_job: &CronJob, problem: Problem) -> Event {
    match problem {
        Problem::TimeZone(why) => {
            let zone = cron_job.spec.time_zone.as_deref().unwrap_or_default();
            Event::warning("UnknownTimeZone", format!("invalid timeZone: {zone:?}: {why}"))
        }
        Problem::Pattern(why) => {
            let schedule = &cron_job.spec.schedule;
            let message = format!("unparseable schedule: {schedule:?} : {why}");
            Event::warning("UnparseableSchedule", message)
        }
    }
}

impl Decision {
    /// Crosses out what has ended and notes the last success.
    fn take_stock(&mut self, jobs: &[Arc<Job>]) {
        for job in jobs {
            let Some(condition) = finished(job) else { continue };
            if is_active_in(&self.status, job) {
                let active = self.status.active.iter_mut();
                active.for_each(|active| active.retain(|known| known.uid != job.metadata.uid));
                let (name, kind) = (job.name_any(), &condition.type_);
                let message = format!("Saw completed job: {name}, condition: {kind}");
                self.events.push(Event::normal("SawCompletedJob", message));
            }
            let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
            if condition.type_ == "Complete" && completed > self.status.last_successful_time {
                self.status.last_successful_time = completed;
            }
        }
        let known = |uid: &Option<String>| jobs.iter().any(|job| job.metadata.uid == *uid);
        let active = self.status.active.iter().flatten();
        let missing = active.filter(|active| !known(&active.uid));
        self.missing = missing.filter_map(|active| active.name.clone()).collect();
    }

    /// Keeps as many ended jobs as asked for, the youngest.
    fn trim_history(&mut self, cron_job: &CronJob, jobs: &[Arc<Job>]) {
        let spec = &cron_job.spec;
        let limits = [
            ("Complete", spec.successful_jobs_history_limit),
            ("Failed", spec.failed_jobs_history_limit),
        ];
        for (kind, limit) in limits {
            let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
            let mut ended: Vec<&Arc<Job>> = jobs
                .iter()
                .filter(|job| finished(job).is_some_and(|condition| condition.type_ == kind))
                .collect();
            ended.sort_by_key(|job| {
                let start = job.status.as_ref().and_then(|status| status.start_time.clone());
                (start, job.metadata.name.clone())
            });
            let surplus = ended.len().saturating_sub(limit);
            let gone = ended.into_iter().take(surplus);
            let gone = gone.filter(|job| job.metadata.deletion_timestamp.is_none());
            self.delete.extend(gone.cloned());
        }
    }

    /// Starts what is due.
    fn follow(
        &mut self,
        cron_job: &CronJob,
        jobs: &[Arc<Job>],
        schedule: &Schedule,
        now: Timestamp,
    ) {
        let spec = &cron_job.spec;
        let slack = SignedDuration::from_millis(100);
        self.next = schedule.until_next(now).and_then(|left| Duration::try_from(left + slack).ok());
        let created = cron_job.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let last = self.status.last_schedule_time.as_ref().map(|time| time.0);
        let Some(due) = schedule.last_due(last.unwrap_or(created), now) else { return };
        let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        if deadline.is_some_and(|deadline| due + deadline < now) {
            let message = format!(
                "Missed scheduled time to start a job: {}",
                due.strftime("%a, %d %b %Y %H:%M:%S UTC")
            );
            self.events.push(Event::warning("MissSchedule", message));
            return;
        }
        let job = new_job(cron_job, due);
        let running = self.status.active.iter().flatten();
        if running.clone().any(|active| active.name == job.metadata.name) {
            return;
        }
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if running.count() > 0 => {
                let message = "Not starting job because prior execution is running and \
                    concurrency policy is Forbid";
                self.events.push(Event::normal("JobAlreadyActive", message));
                return;
            }
            Some("Replace") => {
                let running = jobs.iter().filter(|job| is_active_in(&self.status, job)).cloned();
                self.delete.extend(running.collect::<Vec<_>>());
                self.status.active = None;
            }
            _ => {}
        }
        self.start = Some(Start { job: Box::new(job), at: Time(due) });
    }
}

/// The job for a time; its name is the time, so that it is never made twice.
fn new_job(cron_job: &CronJob, due: Timestamp) -> Job {
    let template = &cron_job.spec.job_template;
    let own = template.metadata.clone().unwrap_or_default();
    let mut annotations = own.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.into(), due.to_string());
    let metadata = ObjectMeta {
        name: Some(format!("{}-{}", cron_job.name_any(), due.as_second() / 60)),
        namespace: cron_job.namespace(),
        labels: own.labels,
        annotations: Some(annotations),
        owner_references: Some(vec![controller_reference(cron_job)]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec.clone(), status: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cron_job(spec: &Value, status: &Value) -> CronJob {
        let mut whole = json!({"schedule": "*/10 * * * *", "jobTemplate": {}});
        json_patch::merge(&mut whole, spec);
        serde_json::from_value(json!({
            "metadata": {"name": "tick", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": whole, "status": status,
        }))
        .unwrap()
    }

    fn job(name: &str, condition: Option<&str>) -> Arc<Job> {
        let conditions: Vec<_> =
            condition.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        let job = json!({
            "metadata": {"name": name, "uid": name},
            "status": {"conditions": conditions, "startTime": "2026-01-01T00:00:00Z",
                "completionTime": "2026-01-01T00:05:00Z"},
        });
        Arc::new(serde_json::from_value(job).unwrap())
    }

    #[test]
    fn what_is_due_is_started_by_the_policy() {
        let now = "2026-01-01T00:10:30Z".parse().unwrap();
        let running = json!({"active": [{"name": "old", "uid": "old"}]});
        let late = json!({"startingDeadlineSeconds": 20});
        let forbid = json!({"concurrencyPolicy": "Forbid"});
        let replace = json!({"concurrencyPolicy": "Replace"});
        let done = json!({"lastScheduleTime": "2026-01-01T00:10:00Z"});
        // (spec, status) -> (started, deleted, last event)
        let cases = [
            (json!({}), json!({}), (true, 0, None)),
            (json!({}), running.clone(), (true, 0, None)),
            (json!({}), done, (false, 0, None)),
            (json!({"suspend": true}), json!({}), (false, 0, None)),
            (late, json!({}), (false, 0, Some("MissSchedule"))),
            (forbid, running.clone(), (false, 0, Some("JobAlreadyActive"))),
            (replace, running, (true, 1, None)),
            (json!({"schedule": "never"}), json!({}), (false, 0, Some("UnparseableSchedule"))),
        ];
        for (spec, status, expected) in cases {
            let decision = decide(&cron_job(&spec, &status), &[job("old", None)], now);
            let event = decision.events.last().map(|event| event.reason);
            let found = (decision.start.is_some(), decision.delete.len(), event);
            assert_eq!(found, expected, "{spec} {status}");
            if let Some(start) = decision.start {
                let name = start.job.metadata.name.unwrap();
                assert_eq!(name, format!("tick-{}", start.at.0.as_second() / 60));
            }
        }
    }

    #[test]
    fn ended_jobs_are_crossed_out_and_the_oldest_forgotten() {
        let status = json!({"active": [{"name": "a", "uid": "a"}, {"name": "x", "uid": "x"}],
            "lastScheduleTime": "2026-01-01T00:00:00Z"});
        let limits = json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1});
        let jobs =
            [job("a", Some("Complete")), job("b", Some("Complete")), job("c", Some("Failed"))];
        let now = "2026-01-01T00:00:30Z".parse().unwrap();
        let decision = decide(&cron_job(&limits, &status), &jobs, now);
        assert_eq!(decision.status.active.as_ref().unwrap().len(), 1);
        assert_eq!(decision.missing, ["x"]);
        assert!(decision.status.last_successful_time.is_some());
        let gone: Vec<_> = decision.delete.iter().map(|job| job.name_any()).collect();
        assert_eq!(gone, ["a"]);
    }
}
