//! How long to wait before the next attempt, without a clock of its own.

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// The doubling delay of one container's restarts or of one image's pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    delay: SignedDuration,
    last: Option<Timestamp>,
}

impl Backoff {
    /// When the next attempt may be made after one that ended at `since`; none if now.
    pub(crate) fn blocked_until(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let last = self.last?;
        if self.is_stale(last, now) {
            return None;
        }
        let until = since + self.delay;
        (until > now).then_some(until)
    }

    /// The delay that is in force.
    pub(crate) fn delay(&self) -> SignedDuration {
        self.delay
    }

    /// Counts an attempt: the first costs 10 s, each further one twice as much, up to five minutes.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.delay = match self.last {
            Some(last) if !self.is_stale(last, now) => (self.delay * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(now);
    }

    /// Long enough without an attempt: all is forgiven.
    fn is_stale(&self, last: Timestamp, now: Timestamp) -> bool {
        now.duration_since(last) > LONGEST * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_minutes_and_forgives() {
        let start = Timestamp::from_second(1_000_000).unwrap();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.blocked_until(start, start), None);
        let mut now = start;
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            backoff.advance(now);
            assert_eq!(
                backoff.blocked_until(now, now),
                Some(now + SignedDuration::from_secs(seconds))
            );
            now += SignedDuration::from_secs(seconds);
            assert_eq!(backoff.blocked_until(now - backoff.delay(), now), None);
        }
        now += SignedDuration::from_secs(601);
        assert_eq!(backoff.blocked_until(now, now), None);
        backoff.advance(now);
        assert_eq!(backoff.delay(), FIRST);
    }
}
