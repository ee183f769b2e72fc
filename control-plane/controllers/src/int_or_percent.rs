//! Counts that may be given as a percentage of another.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How a part of one is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// As nothing.
    Down,
    /// As one.
    Up,
}

/// The count, given what a percentage is of. Nothing for a string that is not a percentage.
pub(crate) fn resolve(value: &IntOrString, total: i32, round: Round) -> Option<i32> {
    let percent: i64 = match value {
        IntOrString::Int(count) => return Some(*count),
        IntOrString::String(text) => text.strip_suffix('%')?.parse().ok()?,
    };
    let hundredths = percent * i64::from(total);
    let count = match round {
        Round::Down => hundredths.div_euclid(100),
        Round::Up => -(-hundredths).div_euclid(100),
    };
    i32::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_the_way_they_are_told() {
        let text = |text: &str| IntOrString::String(text.into());
        let cases = [
            (IntOrString::Int(3), 10, Round::Up, Some(3)),
            (text("25%"), 10, Round::Up, Some(3)),
            (text("25%"), 10, Round::Down, Some(2)),
            (text("100%"), 7, Round::Down, Some(7)),
            (text("0%"), 7, Round::Up, Some(0)),
            (text("10"), 7, Round::Up, None),
        ];
        for (value, total, round, expected) in cases {
            assert_eq!(resolve(&value, total, round), expected, "{value:?} of {total}");
        }
    }
}
