//! What becomes of an object, given what is known of its owners and dependents.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::graph::Node;

/// What is known of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is there.
    Solid,
    /// It is there, and waits for its dependents to go.
    Waiting,
    /// There is no such object.
    Absent,
}

/// How dependents of an object that is to be deleted are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cascade {
    Background,
    Foreground,
    Orphan,
}

/// What is to be done with an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, with these owners only.
    Disown(Vec<OwnerReference>),
    /// It goes. `unblock`: its own dependents wait for it as it would for them, so it must not
    /// block its owner.
    Delete { cascade: Cascade, unblock: bool },
    /// It waits for its dependents: these block it and have not been asked to go.
    Await(Vec<String>),
    /// It waited for dependents, and none is left that blocks it.
    Finish,
    /// Its dependents are to be set free.
    Free,
}

/// Judges an object. `owners` says what is known of each of its owners, in their order; `dependents`
/// are its known dependents with their uids.
pub(super) fn judge(
    uid: &str,
    node: &Node,
    owners: &[Owner],
    dependents: &[(String, Node)],
) -> Verdict {
    if node.frees() {
        return Verdict::Free;
    }
    if node.waits() {
        return await_dependents(uid, dependents);
    }
    if node.going || node.owners.is_empty() {
        return Verdict::Keep;
    }
    if owners.contains(&Owner::Solid) {
        let keep = node.owners.iter().zip(owners).filter(|(_, owner)| **owner == Owner::Solid);
        let keep: Vec<OwnerReference> = keep.map(|(reference, _)| reference.clone()).collect();
        return if keep.len() == node.owners.len() { Verdict::Keep } else { Verdict::Disown(keep) };
    }
    if owners.contains(&Owner::Waiting) && !dependents.is_empty() {
        let circular = dependents.iter().any(|(_, dependent)| dependent.waits());
        return Verdict::Delete { cascade: Cascade::Foreground, unblock: circular };
    }
    let cascade = if node.orphan {
        Cascade::Orphan
    } else if node.foreground {
        Cascade::Foreground
    } else {
        Cascade::Background
    };
    Verdict::Delete { cascade, unblock: false }
}

fn await_dependents(uid: &str, dependents: &[(String, Node)]) -> Verdict {
    let blocks = |node: &Node| {
        let mut references = node.owners.iter().filter(|owner| owner.uid == uid);
        references.any(|owner| owner.block_owner_deletion == Some(true))
    };
    let blocking: Vec<&(String, Node)> =
        dependents.iter().filter(|(_, node)| blocks(node)).collect();
    if blocking.is_empty() {
        return Verdict::Finish;
    }
    let unasked = blocking.into_iter().filter(|(_, node)| !node.waits());
    Verdict::Await(unasked.map(|(uid, _)| uid.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::node;
    use super::super::graph::{FOREGROUND, ORPHAN};
    use super::*;
    use Owner::{Absent, Solid, Waiting};

    #[test]
    fn owners_decide() {
        let delete = |cascade| Verdict::Delete { cascade, unblock: false };
        let two = [("a", true), ("b", true)];
        let cases = [
            ("no owners", node("x", &[], &[]), vec![], Verdict::Keep),
            ("all there", node("x", &two, &[]), vec![Solid, Solid], Verdict::Keep),
            (
                "one of two gone",
                node("x", &two, &[]),
                vec![Solid, Absent],
                Verdict::Disown(node("x", &two[..1], &[]).owners),
            ),
            (
                "one of two waiting",
                node("x", &two, &[]),
                vec![Waiting, Solid],
                Verdict::Disown(node("x", &two[1..], &[]).owners),
            ),
            ("all gone", node("x", &two, &[]), vec![Absent, Absent], delete(Cascade::Background)),
            (
                "gone and waiting",
                node("x", &two, &[]),
                vec![Absent, Waiting],
                delete(Cascade::Background),
            ),
            (
                "keeps its own orphans",
                node("x", &two, &[ORPHAN]),
                vec![Absent, Absent],
                delete(Cascade::Orphan),
            ),
            (
                "keeps its own order",
                node("x", &two, &[FOREGROUND]),
                vec![Absent, Absent],
                delete(Cascade::Foreground),
            ),
            ("going already", node("x", &two, &["going"]), vec![Absent, Absent], Verdict::Keep),
            ("frees", node("x", &[], &["going", ORPHAN]), vec![], Verdict::Free),
        ];
        for (why, node, owners, expected) in cases {
            assert_eq!(judge("x", &node, &owners, &[]), expected, "{why}");
        }
    }

    #[test]
    fn foreground_deletion_passes_down_and_waits() {
        let middle = node("middle", &[("top", true)], &[]);
        let leaf = ("leaf".to_owned(), node("leaf", &[("middle", true)], &[]));
        let passed = judge("middle", &middle, &[Waiting], std::slice::from_ref(&leaf));
        assert_eq!(passed, Verdict::Delete { cascade: Cascade::Foreground, unblock: false });

        let top = node("top", &[], &["going", FOREGROUND]);
        let going = node("middle", &[("top", true)], &["going", FOREGROUND]);
        let loose = ("loose".to_owned(), node("loose", &[("top", false)], &[]));
        let blocking = |node: &Node| ("middle".to_owned(), node.clone());
        let waits = judge("top", &top, &[], &[blocking(&middle), loose.clone()]);
        assert_eq!(waits, Verdict::Await(vec!["middle".into()]));
        assert_eq!(judge("top", &top, &[], &[blocking(&going)]), Verdict::Await(vec![]));
        assert_eq!(judge("top", &top, &[], &[loose]), Verdict::Finish);
    }

    #[test]
    fn a_circle_is_broken() {
        let own = node("x", &[("y", true)], &[]);
        let other = ("y".to_owned(), node("y", &[("x", true)], &["going", FOREGROUND]));
        let found = judge("x", &own, &[Waiting], &[other]);
        assert_eq!(found, Verdict::Delete { cascade: Cascade::Foreground, unblock: true });
    }
}
