//! When what led to the changes of endpoints that wait happened: what
//! `kubeproxy_network_programming_duration_seconds` counts from.

use std::time::SystemTime;

use crate::objects::{EndpointSlice, Object};

/// When the change happened that made the endpoints controller write a slice.
const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// How many are remembered until the tables are written.
const MOST: usize = 1024;

/// Those that wait.
#[derive(Debug)]
pub(crate) struct Triggers {
    /// What happened before counts for nobody's speed.
    start: SystemTime,
    waiting: Vec<SystemTime>,
}

impl Triggers {
    /// None yet; the proxy started then.
    pub(crate) fn new(start: SystemTime) -> Self {
        Self { start, waiting: Vec::new() }
    }

    /// Notes what led to a slice that came.
    pub(crate) fn note(&mut self, slice: &EndpointSlice) {
        let text = slice.meta().annotations.get(ANNOTATION);
        let Some(time) = text.and_then(|text| text.parse::<jiff::Timestamp>().ok()) else { return };
        let time = SystemTime::from(time);
        if time >= self.start && self.waiting.len() < MOST {
            self.waiting.push(time);
        }
    }

    /// All of them; none waits after it.
    pub(crate) fn take(&mut self) -> Vec<SystemTime> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::objects::Meta;

    fn slice(annotations: &[(&str, &str)]) -> EndpointSlice {
        let annotations = annotations.iter().map(|&(key, value)| (key.into(), value.into()));
        let metadata = Some(Meta { annotations: annotations.collect(), ..Meta::default() });
        EndpointSlice { metadata, ..EndpointSlice::default() }
    }

    #[test]
    fn what_happened_since_the_start_counts_once() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut triggers = Triggers::new(start);
        for (text, counts) in [
            ("1970-01-01T00:16:41.5Z", true),
            ("1970-01-01T00:16:40Z", true),
            ("1970-01-01T00:16:39Z", false),
            ("yesterday", false),
        ] {
            triggers.note(&slice(&[(ANNOTATION, text)]));
            assert_eq!(triggers.take().len(), usize::from(counts), "{text}");
        }
        triggers.note(&slice(&[("other", "1970-01-01T00:16:41Z")]));
        assert_eq!(triggers.take(), []);
        triggers.note(&slice(&[(ANNOTATION, "1970-01-01T00:16:41.5Z")]));
        assert_eq!(triggers.take(), [start + Duration::from_millis(1_500)]);
        assert_eq!(triggers.take(), []);
    }
}
