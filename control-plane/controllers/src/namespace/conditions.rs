//! What keeps a namespace from going, as conditions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::content::Report;

/// The namespace with its conditions and phase brought up to date.
pub(super) fn with_conditions(namespace: &Namespace, report: &Report, now: Timestamp) -> Namespace {
    let mut new = namespace.clone();
    let status = new.status.get_or_insert_default();
    status.phase = Some("Terminating".into());
    let known = status.conditions.take().unwrap_or_default();
    let mut conditions = known.clone();
    for condition in judged(report, now) {
        match conditions.iter_mut().find(|known| known.type_ == condition.type_) {
            // A trouble that never was is not worth a condition of its own time again.
            Some(known) if known.status == condition.status => {
                known.reason = condition.reason;
                known.message = condition.message;
            }
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
    status.conditions = Some(conditions);
    new
}

fn judged(report: &Report, now: Timestamp) -> [NamespaceCondition; 5] {
    let condition = |kind: &str, trouble: Option<(&str, String)>, fine: (&str, &str)| {
        let status = if trouble.is_some() { "True" } else { "False" };
        let (reason, message) = trouble.unwrap_or((fine.0, fine.1.to_owned()));
        NamespaceCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }
    };
    let failed = (!report.failures.is_empty()).then(|| {
        let all = report.failures.join(", ");
        let count = report.failures.len();
        let message = format!("Failed to delete all resource types, {count} remaining: {all}");
        ("ContentDeletionFailed", message)
    });
    let remaining = listed(&report.remaining, |resource, count| {
        format!("{resource} has {count} resource instances")
    });
    let finalizers = listed(&report.finalizers, |finalizer, count| {
        format!("{finalizer} in {count} resource instances")
    });
    [
        condition(
            "NamespaceDeletionDiscoveryFailure",
            report.discovery.clone().map(|message| ("DiscoveryFailed", message)),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        condition(
            "NamespaceDeletionContentFailure",
            failed,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        condition(
            "NamespaceContentRemaining",
            remaining.map(|list| {
                ("SomeResourcesRemain", format!("Some resources are remaining: {list}"))
            }),
            ("ContentRemoved", "All content successfully removed"),
        ),
        condition(
            "NamespaceFinalizersRemaining",
            finalizers.map(|list| {
                let message =
                    format!("Some content in the namespace has finalizers remaining: {list}");
                ("SomeFinalizersRemain", message)
            }),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

fn listed(counts: &BTreeMap<String, usize>, item: fn(&str, usize) -> String) -> Option<String> {
    let items: Vec<String> = counts.iter().map(|(name, count)| item(name, *count)).collect();
    (!items.is_empty()).then(|| items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(namespace: &Namespace, kind: &str) -> (String, String, Timestamp) {
        let conditions = namespace.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let condition = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        let time = condition.last_transition_time.as_ref().unwrap().0;
        (condition.status.clone(), condition.message.clone().unwrap(), time)
    }

    #[test]
    fn what_is_left_is_named_and_what_is_done_is_said() {
        let (first, second) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let busy = Report {
            remaining: [("pods.".into(), 3)].into(),
            finalizers: [("example.com/hold".into(), 1)].into(),
            ..Report::default()
        };
        let waiting = with_conditions(&Namespace::default(), &busy, first);
        let message = "Some resources are remaining: pods. has 3 resource instances";
        let expected = ("True".to_owned(), message.to_owned(), first);
        assert_eq!(found(&waiting, "NamespaceContentRemaining"), expected);
        let message = "Some content in the namespace has finalizers remaining: \
            example.com/hold in 1 resource instances";
        assert_eq!(found(&waiting, "NamespaceFinalizersRemaining").1, message);

        let clear = with_conditions(&waiting, &Report::default(), second);
        let expected = ("False".to_owned(), "All content successfully removed".to_owned(), second);
        assert_eq!(found(&clear, "NamespaceContentRemaining"), expected);
        assert_eq!(found(&clear, "NamespaceDeletionDiscoveryFailure").2, first, "nothing changed");
        assert_eq!(with_conditions(&clear, &Report::default(), second), clear);
    }
}
