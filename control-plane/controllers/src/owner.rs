//! Who owns what: controller references, and deciding which objects a controller adopts or releases.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::Error;
use crate::runtime::{Key, Kind, Objects, is_not_found};

/// The owner that controls the object, if one does.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The controlling owner, when it is of this kind (`apps/v1`'s `ReplicaSet`, say).
pub(crate) fn controller_of_kind<K: Kind>(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let (kind, group) = (K::kind(&()), K::group(&()));
    controller_of(meta).filter(|owner| {
        owner.kind == kind
            && owner.api_version.rsplit_once('/').map_or("", |(group, _)| group) == group
    })
}

/// The reference that makes `owner` the controller of what carries it.
pub(crate) fn controller_reference<K: Kind>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What to do about an object a controller might own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the controller's own.
    Keep,
    /// It fits and has no controller: take it.
    Adopt,
    /// It is the controller's and no longer fits: let it go.
    Release,
    /// None of its business.
    Ignore,
}

/// Decides about one object. Nothing is adopted or released by, or for, something being deleted.
pub(crate) fn claim(owner: &ObjectMeta, object: &ObjectMeta, fits: bool) -> Claim {
    let owner_going = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if fits => Claim::Keep,
        Some(_) if owner_going => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner_going || !fits || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Carries out a claim; answers whether the object is now the owner's. The owner is read once from
/// the server before a first adoption: the cache may not know yet that it is gone.
pub(crate) async fn carry_out<O: Kind, K: Kind>(
    objects: &Objects,
    owner: &O,
    object: &K,
    claim: Claim,
) -> Result<bool, Error> {
    let patch = match claim {
        Claim::Keep => return Ok(true),
        Claim::Ignore => return Ok(false),
        Claim::Adopt => {
            let fresh: O = objects.get(&Key::of(owner.meta())).await?;
            let same = fresh.meta().uid == owner.meta().uid;
            if !same || fresh.meta().deletion_timestamp.is_some() {
                return Err(Error::Later("the owner has just been deleted".into()));
            }
            let references = object.meta().owner_references.iter().flatten().cloned();
            let owners: Vec<_> = references.chain([controller_reference(owner)]).collect();
            owners_patch(object.meta(), &owners)
        }
        Claim::Release => release_patch(owner.meta(), object.meta()),
    };
    let written = objects.patch::<K, _>(&Key::of(object.meta()), "", &Patch::Merge(patch)).await;
    match written {
        Ok(_) => Ok(claim == Claim::Adopt),
        Err(error) if claim == Claim::Release && is_not_found(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the owner out of an object's owners.
pub(crate) fn release_patch(owner: &ObjectMeta, object: &ObjectMeta) -> Value {
    let references = object.owner_references.iter().flatten();
    let owners: Vec<_> =
        references.filter(|other| Some(&other.uid) != owner.uid.as_ref()).cloned().collect();
    owners_patch(object, &owners)
}

/// Replaces the owners, provided that the object is still the one that was looked at.
fn owners_patch(meta: &ObjectMeta, owners: &[OwnerReference]) -> Value {
    json!({ "metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "ownerReferences": owners,
    }})
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn meta(controller: Option<&str>, going: bool) -> ObjectMeta {
        ObjectMeta {
            uid: Some("me".into()),
            deletion_timestamp: going.then_some(Time(Timestamp::UNIX_EPOCH)),
            owner_references: controller.map(|uid| {
                vec![OwnerReference {
                    uid: uid.into(),
                    controller: Some(true),
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn claims() {
        // (owner going, object's controller, object going, fits) -> claim
        let cases = [
            ((false, None, false, true), Claim::Adopt),
            ((false, None, false, false), Claim::Ignore),
            ((false, None, true, true), Claim::Ignore),
            ((true, None, false, true), Claim::Ignore),
            ((false, Some("me"), false, true), Claim::Keep),
            ((false, Some("me"), true, true), Claim::Keep),
            ((true, Some("me"), false, true), Claim::Keep),
            ((false, Some("me"), false, false), Claim::Release),
            ((true, Some("me"), false, false), Claim::Ignore),
            ((false, Some("other"), false, true), Claim::Ignore),
        ];
        for ((owner_going, controller, going, fits), expected) in cases {
            let found = claim(&meta(None, owner_going), &meta(controller, going), fits);
            assert_eq!(found, expected, "{owner_going} {controller:?} {going} {fits}");
        }
    }
}
