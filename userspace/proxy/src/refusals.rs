//! What is not served of Services, told to their owners: once, in the log, the metrics and Events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::guard::Refusal;
use crate::metrics::Metrics;
use crate::notices::Notice;
use crate::service::ServiceName;

/// Who was told what.
#[derive(Debug)]
pub(crate) struct Refusals {
    metrics: Arc<Metrics>,
    notices: mpsc::Sender<Notice>,
    told: BTreeMap<ServiceName, Vec<Refusal>>,
    contended: BTreeSet<ServiceName>,
}

impl Refusals {
    /// Nobody was told anything yet.
    pub(crate) fn new(metrics: Arc<Metrics>, notices: mpsc::Sender<Notice>) -> Self {
        Self { metrics, notices, told: BTreeMap::new(), contended: BTreeSet::new() }
    }

    /// Replaces what is not served of a Service: what it must not have, and what others have. Tells what
    /// is news of it.
    pub(crate) fn set(
        &mut self,
        service: &ServiceName,
        uid: &str,
        forbidden: &[Refusal],
        contended: Vec<Refusal>,
    ) {
        if contended.is_empty() {
            self.contended.remove(service);
        } else {
            self.contended.insert(service.clone());
        }
        let refusals: Vec<_> =
            forbidden.iter().cloned().chain(one_of_each_reason(contended)).collect();
        let known = self.told.remove(service).unwrap_or_default();
        for (reason, note) in refusals.iter().filter(|refusal| !known.contains(refusal)) {
            self.tell(service, uid, reason, note.clone());
        }
        if !refusals.is_empty() {
            self.told.insert(service.clone(), refusals);
        }
    }

    /// Services that may get more when others give up something.
    pub(crate) fn contended(&self) -> impl Iterator<Item = &ServiceName> {
        self.contended.iter()
    }

    /// Tells the owner of a Service what is wrong with it.
    pub(crate) fn tell(
        &self,
        service: &ServiceName,
        uid: &str,
        reason: &'static str,
        note: String,
    ) {
        tracing::warn!(%service, reason, note, "a part of a Service is not served");
        self.metrics.count_refused(reason);
        let (service, uid) = (service.clone(), uid.to_owned());
        // Should too many wait already, the log has it.
        let _ = self.notices.try_send(Notice { service, uid, reason, note });
    }
}

/// A Service with a thousand ports would have a thousand Events.
fn one_of_each_reason(refusals: Vec<Refusal>) -> impl Iterator<Item = Refusal> {
    let mut by_reason: BTreeMap<&'static str, (String, usize)> = BTreeMap::new();
    for (reason, note) in refusals {
        by_reason.entry(reason).or_insert((note, 0)).1 += 1;
    }
    by_reason.into_iter().map(|(reason, (note, count))| match count {
        1 => (reason, note),
        _ => (reason, format!("{note}, and {} more of this kind", count - 1)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_news_and_nothing_twice() {
        let (notices, mut told) = mpsc::channel(8);
        let mut refusals = Refusals::new(Arc::default(), notices);
        let service = ServiceName::new("shop", "web");
        let mut told_now = |refusals: &mut Refusals, forbidden: &[&str], contended: &[&str]| {
            let all = |notes: &[&str], reason| -> Vec<Refusal> {
                notes.iter().map(|&note| (reason, note.into())).collect()
            };
            let forbidden = all(forbidden, "PortInUse");
            refusals.set(&service, "1-2", &forbidden, all(contended, "AddressTaken"));
            let notes = std::iter::from_fn(|| told.try_recv().ok());
            notes.map(|notice| format!("{} {}", notice.reason, notice.note)).collect::<Vec<_>>()
        };
        assert_eq!(told_now(&mut refusals, &["a"], &[]), ["PortInUse a"]);
        assert_eq!(refusals.contended().count(), 0);
        assert_eq!(told_now(&mut refusals, &["a"], &["b"]), ["AddressTaken b"]);
        assert_eq!(refusals.contended().count(), 1);
        let several = told_now(&mut refusals, &["a"], &["b", "c", "d"]);
        assert_eq!(several, ["AddressTaken b, and 2 more of this kind"]);
        assert_eq!(told_now(&mut refusals, &[], &[]), [""; 0]);
        assert_eq!(refusals.contended().count(), 0);
        assert_eq!(told_now(&mut refusals, &["a"], &[]), ["PortInUse a"], "it came again");
    }
}
