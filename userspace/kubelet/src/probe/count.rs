//! How many answers in a row make a verdict.

use k8s_openapi::api::core::v1::Probe;

/// Counts equal answers in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    successes_needed: u32,
    failures_needed: u32,
    last: Option<bool>,
    in_a_row: u32,
    told: Option<bool>,
}

impl Count {
    pub(crate) fn new(probe: &Probe) -> Self {
        let number = |value: Option<i32>, otherwise| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .filter(|v| *v > 0)
                .unwrap_or(otherwise)
        };
        Self {
            successes_needed: number(probe.success_threshold, 1),
            failures_needed: number(probe.failure_threshold, 3),
            last: None,
            in_a_row: 0,
            told: None,
        }
    }

    /// Takes an answer; gives a verdict when it is a new one.
    pub(crate) fn add(&mut self, good: bool) -> Option<bool> {
        self.in_a_row = if self.last == Some(good) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let needed = if good { self.successes_needed } else { self.failures_needed };
        if self.in_a_row < needed || self.told == Some(good) {
            return None;
        }
        self.told = Some(good);
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let probe = |successes, failures| Probe {
            success_threshold: Some(successes),
            failure_threshold: Some(failures),
            ..Probe::default()
        };
        for (case, probe, answers, verdicts) in [
            ("the first success counts", probe(1, 3), "+", "+"),
            ("one failure does not", probe(1, 3), "+-", "+."),
            ("three in a row do", probe(1, 3), "+---", "+..-"),
            ("a success between starts anew", probe(1, 2), "-+-+", ".+.."),
            ("told once", probe(1, 1), "++--", "+.-."),
            ("two successes needed", probe(2, 1), "+-++", ".-.+"),
        ] {
            let mut count = Count::new(&probe);
            let seen: String = answers
                .chars()
                .map(|answer| match count.add(answer == '+') {
                    Some(true) => '+',
                    Some(false) => '-',
                    None => '.',
                })
                .collect();
            assert_eq!(seen, verdicts, "{case}");
        }
    }
}
