//! When the change happened that a slice shows, for those who measure how long it took to arrive.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::pod::condition;

const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The earliest of the changes that the known slices do not show yet.
pub(super) fn trigger_time<'a, K: AsRef<EndpointSlice>>(
    service: &Service,
    pods: impl Iterator<Item = &'a Pod>,
    known: &[K],
) -> Option<Timestamp> {
    let shown = known.iter().filter_map(|slice| noted(slice.as_ref())).max();
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let changed = pods.filter_map(changed).chain(created);
    changed.filter(|time| shown.is_none_or(|shown| *time > shown)).min()
}

/// When the pod last became ready or not; when it was made, if it never did.
fn changed(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    ready.or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0)
}

fn noted(slice: &EndpointSlice) -> Option<Timestamp> {
    slice.metadata.annotations.as_ref()?.get(ANNOTATION)?.parse().ok()
}

/// Writes the time into a slice; without one, an old time must not stay.
pub(super) fn note(slice: &mut EndpointSlice, time: Option<Timestamp>) {
    let annotations = slice.metadata.annotations.get_or_insert_default();
    match time {
        Some(time) => annotations.insert(ANNOTATION.into(), time.to_string()),
        None => annotations.remove(ANNOTATION),
    };
    if annotations.is_empty() {
        slice.metadata.annotations = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_change_not_shown_yet_counts() {
        let service: Service = serde_json::from_value(
            json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}),
        )
        .unwrap();
        let pod = |at: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": at}]}}))
            .unwrap()
        };
        let pods = [pod("2026-01-01T00:02:00Z"), pod("2026-01-01T00:01:00Z")];
        for (shown, expected) in [
            (None, Some("2026-01-01T00:00:00Z")),
            (Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:01:00Z")),
            (Some("2026-01-01T00:01:00Z"), Some("2026-01-01T00:02:00Z")),
            (Some("2026-01-01T00:02:00Z"), None),
        ] {
            let mut slice = EndpointSlice::default();
            note(&mut slice, shown.map(|time: &str| time.parse().unwrap()));
            let found = trigger_time(&service, pods.iter(), &[Box::new(slice)]);
            assert_eq!(found.map(|time| time.to_string()).as_deref(), expected, "{shown:?}");
        }
    }
}
