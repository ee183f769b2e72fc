//! Why a pod did not fit, in upstream's words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::plugin::Rejection;

/// What became of a pod that found no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// How many nodes there are.
    pub nodes: usize,
    /// A plugin that ruled out all nodes before they were asked one by one.
    pub everywhere: Option<Rejection>,
    /// What was said about each node that was asked.
    pub rejected: BTreeMap<String, Rejection>,
    /// Plugins that named the only nodes worth asking.
    pub limited_by: BTreeSet<&'static str>,
    /// What preemption had to say.
    pub preemption: Option<String>,
}

impl Diagnosis {
    /// The plugins to listen to: a change that helps with none of them cannot help the pod.
    pub fn plugins(&self) -> BTreeSet<&'static str> {
        let rejections = self.everywhere.iter().chain(self.rejected.values());
        rejections
            .map(|rejection| rejection.plugin)
            .chain(self.limited_by.iter().copied())
            .collect()
    }

    /// Whether pods' leaving might help on some node.
    pub fn is_resolvable(&self) -> bool {
        self.everywhere.is_none() && self.rejected.values().any(|rejection| rejection.resolvable)
    }
}

/// Counts reasons: `1 Insufficient cpu, 2 node(s) were unschedulable`, sorted as text.
pub(crate) fn histogram<'a>(reasons: impl IntoIterator<Item = (&'a str, usize)>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (reason, count) in reasons {
        *counts.entry(reason).or_default() += count;
    }
    let mut shown: Vec<_> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    shown.sort();
    shown.join(", ")
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return out.write_str("no nodes available to schedule pods");
        }
        write!(out, "0/{} nodes are available:", self.nodes)?;
        if let Some(everywhere) = &self.everywhere {
            write!(out, " {}.", everywhere.reasons.join(", "))?;
        } else {
            let unasked = self.nodes - self.rejected.len();
            let plugins: Vec<_> = self.limited_by.iter().copied().collect();
            let absent = format!("node(s) didn't satisfy plugin(s) [{}]", plugins.join(" "));
            let absent = (unasked > 0 && !plugins.is_empty()).then_some((absent.as_str(), unasked));
            let asked = self
                .rejected
                .values()
                .flat_map(|r| r.reasons.iter().map(|reason| (reason.as_ref(), 1)));
            let reasons = histogram(asked.chain(absent));
            if !reasons.is_empty() {
                write!(out, " {reasons}.")?;
            }
        }
        match &self.preemption {
            Some(preemption) => write!(out, " preemption: {preemption}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(nodes: &[(&str, &[&'static str])]) -> BTreeMap<String, Rejection> {
        let one = |(node, reasons): &(&str, &[&'static str])| {
            let reasons = reasons.iter().map(|reason| (*reason).into()).collect();
            ((*node).to_owned(), Rejection { plugin: "P", reasons, resolvable: true })
        };
        nodes.iter().map(one).collect()
    }

    #[test]
    fn the_message_is_upstreams() {
        let helpless = "0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
        let cases = [
            (Diagnosis::default(), "no nodes available to schedule pods"),
            (
                Diagnosis {
                    nodes: 3,
                    rejected: rejected(&[
                        ("n1", &["Insufficient cpu"]),
                        ("n2", &["node(s) had untolerated taint(s)"]),
                        ("n3", &["node(s) had untolerated taint(s)"]),
                    ]),
                    preemption: Some(helpless.into()),
                    ..Diagnosis::default()
                },
                "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            ),
            (
                Diagnosis {
                    nodes: 1,
                    rejected: rejected(&[("n1", &["Insufficient cpu", "Insufficient memory"])]),
                    ..Diagnosis::default()
                },
                "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
            ),
            (
                Diagnosis {
                    nodes: 2,
                    everywhere: Some(Rejection::lasting(
                        "V",
                        "pod has unbound immediate PersistentVolumeClaims",
                    )),
                    preemption: Some(
                        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
                            .into(),
                    ),
                    ..Diagnosis::default()
                },
                "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
            ),
            (
                Diagnosis {
                    nodes: 3,
                    rejected: rejected(&[("n1", &["Too many pods"])]),
                    limited_by: BTreeSet::from(["NodeAffinity"]),
                    ..Diagnosis::default()
                },
                "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
            ),
        ];
        for (diagnosis, expected) in cases {
            assert_eq!(diagnosis.to_string(), expected);
        }
    }
}
