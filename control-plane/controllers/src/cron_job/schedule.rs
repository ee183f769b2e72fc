//! When a cron job is due.

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJobSpec;

/// A schedule that has been understood.
pub(super) struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// What cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    TimeZone(String),
    Pattern(String),
}

impl Schedule {
    /// Without a time zone of its own a schedule is in UTC.
    pub(super) fn parse(spec: &CronJobSpec) -> Result<Self, Problem> {
        let zone = match &spec.time_zone {
            None => TimeZone::UTC,
            Some(name) => {
                TimeZone::get(name).map_err(|error| Problem::TimeZone(error.to_string()))?
            }
        };
        let cron = spec.schedule.parse();
        let cron =
            cron.map_err(|error: croner::errors::CronError| Problem::Pattern(error.to_string()))?;
        Ok(Self { cron, zone })
    }

    /// The last time it was due, after `since` and not after `now`.
    pub(super) fn last_due(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        let due = self.cron.find_previous_occurrence(&now, true).ok()?;
        // Schedules are in whole seconds; the start of one may lie within it.
        let due = Timestamp::from_second(due.timestamp().as_second()).ok()?;
        (due > since).then_some(due)
    }

    /// How long until it is due again.
    pub(super) fn until_next(&self, now: Timestamp) -> Option<SignedDuration> {
        let zoned = now.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&zoned, false).ok()?;
        Some(next.timestamp().duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schedule(pattern: &str, zone: Option<&str>) -> Result<Schedule, Problem> {
        let spec = json!({"schedule": pattern, "timeZone": zone, "jobTemplate": {}});
        Schedule::parse(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn schedules_are_due_in_their_own_time_zone() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let now: Timestamp = "2026-01-01T10:30:30Z".parse().unwrap();
        // (pattern, zone) -> (last due, seconds until the next)
        let cases = [
            (("*/5 * * * *", None), (Some("2026-01-01T10:30:00Z"), 270)),
            (("0 * * * *", None), (Some("2026-01-01T10:00:00Z"), 29 * 60 + 30)),
            (("@hourly", None), (Some("2026-01-01T10:00:00Z"), 29 * 60 + 30)),
            (("0 11 * * *", None), (None, 29 * 60 + 30)),
            (("0 11 * * *", Some("Europe/Berlin")), (Some("2026-01-01T10:00:00Z"), 84570)),
        ];
        for ((pattern, zone), (due, next)) in cases {
            let schedule = schedule(pattern, zone).unwrap();
            let found = schedule.last_due(since, now).map(|time| time.to_string());
            assert_eq!(found.as_deref(), due, "{pattern} {zone:?}");
            assert_eq!(schedule.until_next(now).unwrap().as_secs(), next, "{pattern} {zone:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert!(matches!(schedule("61 * * * *", None), Err(Problem::Pattern(_))));
        assert!(matches!(schedule("* * * * *", Some("Mars/North")), Err(Problem::TimeZone(_))));
    }
}
