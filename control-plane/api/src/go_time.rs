//! Go's time types as JSON shows them: RFC 3339 to the second or microsecond, and durations such as
//! `1h0m0s`.

use std::fmt::Write;

use jiff::Timestamp;

/// Reads RFC 3339.
///
/// # Errors
/// A message in the manner of Go's `time.Parse`.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    // RFC 3339 alone: no bracketed zones, no dates without an offset.
    let offset = text.ends_with('Z') || text.len() > 19 && text[19..].contains(['+', '-']);
    let plain =
        text.is_ascii() && text.len() >= 20 && text.as_bytes()[10] == b'T' && !text.contains('[');
    match text.parse::<Timestamp>() {
        Ok(time) if offset && plain => Ok(time),
        _ => Err(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        )),
    }
}

/// `2026-11-21T06:27:00Z`
pub fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-11-21T06:27:00.000000Z`
pub fn format_micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads `1h30m`, `100ms`, `-1.5s`, into nanoseconds.
///
/// # Errors
/// Go's message.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > 30 {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanos: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        let mut value =
            whole.bytes().fold(0i128, |sum, byte| sum.saturating_mul(10) + i128::from(byte - b'0'));
        value = value.saturating_mul(nanos);
        let mut place = nanos;
        for byte in fraction.bytes() {
            place /= 10;
            value = value.saturating_add(i128::from(byte - b'0') * place);
        }
        total = total.saturating_add(value);
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// Go's `Duration.String`.
pub fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let fraction = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{}{dot}{fraction}", value / unit)
    };
    match magnitude {
        0..1_000 => return format!("{sign}{magnitude}ns"),
        1_000..1_000_000 => return format!("{sign}{}µs", decimal(magnitude, 1_000)),
        1_000_000..1_000_000_000 => return format!("{sign}{}ms", decimal(magnitude, 1_000_000)),
        _ => {}
    }
    let (minutes, rest) = (magnitude / 60_000_000_000, magnitude % 60_000_000_000);
    let mut text = sign.to_owned();
    if minutes >= 60 {
        write!(text, "{}h", minutes / 60).expect("writing to a string cannot fail");
    }
    if minutes > 0 {
        write!(text, "{}m", minutes % 60).expect("writing to a string cannot fail");
    }
    text + &decimal(rest, 1_000_000_000) + "s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        let cases = [
            ("0", "0s"),
            ("1h", "1h0m0s"),
            ("90s", "1m30s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("-1m", "-1m0s"),
            ("1h0m0.5s", "1h0m0.5s"),
            ("1500us", "1.5ms"),
            ("3ns", "3ns"),
        ];
        for (text, printed) in cases {
            assert_eq!(format_duration(parse_duration(text).expect(text)), printed, "{text}");
        }
        for text in ["", "1", "s", "1x", "1.1.1s", "99999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_lose_what_the_type_does_not_hold() {
        let time = parse_time("2026-11-21T08:27:00.1234567+02:00").expect("time");
        assert_eq!(format_time(time), "2026-11-21T06:27:00Z");
        assert_eq!(format_micro_time(time), "2026-11-21T06:27:00.123456Z");
        for text in ["yesterday", "2026-11-21", "2026-11-21 08:27:00Z", "2026-11-21T08:27:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
