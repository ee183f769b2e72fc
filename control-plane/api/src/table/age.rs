//! How long ago something was, in two or three significant figures: `5m3s`, `2d3h`.

use jiff::Timestamp;
use serde_json::Value;

use crate::go_time;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time since `time`, RFC 3339; `<unknown>` where there is none.
pub(super) fn since(time: &Value, now: Timestamp) -> String {
    match read(time) {
        Some(time) => human(seconds_between(time, now)),
        None => "<unknown>".to_owned(),
    }
}

/// The time in an object's field.
pub(super) fn read(time: &Value) -> Option<Timestamp> {
    go_time::parse_time(time.as_str()?).ok()
}

/// Whole seconds from one time to another, towards zero.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from((to.as_nanosecond() - from.as_nanosecond()) / 1_000_000_000).unwrap_or(i64::MAX)
}

/// A duration of whole seconds, as upstream's `duration.HumanDuration` rounds it. Clocks may differ by
/// less than two seconds.
pub(super) fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / MINUTE, seconds / HOUR, seconds / DAY);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if minutes < 2 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, 'm', seconds % MINUTE, 's'),
        _ if hours < 3 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        _ if days < 2 => format!("{hours}h"),
        _ if days < 8 => two(days, 'd', hours % 24, 'h'),
        _ if seconds < 2 * YEAR => format!("{days}d"),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, 'y', days % 365, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two(large: i64, large_unit: char, small: i64, small_unit: char) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_keep_two_or_three_figures() {
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (303, "5m3s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 3 * HOUR, "2d3h"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR - 1, "7y364d"),
            (8 * YEAR, "8y"),
            (50 * YEAR, "50y"),
        ];
        for (seconds, printed) in cases {
            assert_eq!(human(seconds), printed, "{seconds}");
        }
    }

    #[test]
    fn ages_are_told_against_now() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().expect("time");
        assert_eq!(since(&json!("2026-11-21T07:54:57Z"), now), "5m3s");
        assert_eq!(since(&json!("2026-11-21T08:00:01.5Z"), now), "0s");
        assert_eq!(since(&json!("2026-11-21T08:00:02Z"), now), "<invalid>");
        assert_eq!(since(&Value::Null, now), "<unknown>");
    }
}
