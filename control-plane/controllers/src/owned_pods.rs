//! Tells a controller's queue about the pods of the objects it looks after: pods it owns, pods it
//! has just lost, and free pods that one of its selectors matches.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::owner::{controller_of, controller_of_kind};
use crate::pod::is_terminating;
use crate::runtime::{Change, Expectations, Informer, Key, Kind, Queue};
use crate::selector::{is_empty, matches};

/// Follows pods on behalf of owners of kind `O`; `selector_of` says which pods an owner wants.
pub(crate) fn follow<O: Kind>(
    pods: &Informer<Pod>,
    owners: &Arc<Informer<O>>,
    queue: &Queue<Key>,
    expectations: &Arc<Expectations>,
    selector_of: fn(&O) -> Option<LabelSelector>,
) {
    let (owners, queue, expectations) = (owners.clone(), queue.clone(), expectations.clone());
    pods.subscribe(move |change| {
        note(change, &expectations, owner_key::<O>);
        change
            .both()
            .filter_map(|pod| owner_key::<O>(&pod.metadata))
            .for_each(|key| queue.add(key));
        let Some(free) = newly_free(change) else { return };
        let namespace = free.metadata.namespace.as_deref().unwrap_or_default();
        for owner in owners.cache().in_namespace(namespace) {
            let wanted = selector_of(&owner).is_some_and(|selector| {
                !is_empty(&selector) && matches(&selector, free.metadata.labels.as_ref())
            });
            if wanted {
                queue.add(Key::of(owner.meta()));
            }
        }
    });
}

/// The key of the owner of kind `O` that controls the object.
pub(crate) fn owner_key<O: Kind>(meta: &ObjectMeta) -> Option<Key> {
    let owner = controller_of_kind::<O>(meta)?;
    Some(Key::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

/// Ticks off what was expected. A deletion counts from the moment it is asked for.
fn note(
    change: &Change<'_, Pod>,
    expectations: &Expectations,
    owner_key: fn(&ObjectMeta) -> Option<Key>,
) {
    let pod = change.latest();
    let Some(owner) = owner_key(&pod.metadata) else { return };
    let going = change.new.is_none_or(|pod| is_terminating(pod));
    if going {
        expectations.deleted(&owner, pod.metadata.uid.as_deref().unwrap_or_default());
    } else if change.old.is_none() {
        expectations.created(&owner);
    }
}

/// The pod, if it has no controller and this change may have brought it into someone's reach.
fn newly_free<'a>(change: &Change<'a, Pod>) -> Option<&'a Arc<Pod>> {
    let new =
        change.new.filter(|pod| controller_of(&pod.metadata).is_none() && !is_terminating(pod))?;
    let same = change.old.is_some_and(|old| {
        old.metadata.labels == new.metadata.labels && controller_of(&old.metadata).is_none()
    });
    (!same).then_some(new)
}
