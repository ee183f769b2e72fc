//! The revisions of a pod template that daemon sets and stateful sets keep, to roll back to.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::Error;
use crate::owner::controller_reference;
use crate::pod_template::{hash, same};
use crate::runtime::{Key, Kind, Objects, is_already_exists, is_not_found};
use crate::selector::Labels;

/// The label that says which revision a pod or a revision is.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";

/// The revision of the template asked for, and those before it, oldest first.
pub(crate) struct History {
    /// What the template asks for.
    pub(crate) current: ControllerRevision,
    /// What it asked for before.
    pub(crate) old: Vec<ControllerRevision>,
}

/// What has to be written for the history to be right.
#[derive(Debug, PartialEq)]
enum Write {
    Nothing,
    Create(i64),
    Renumber(i64),
}

/// The template a revision holds.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let template = revision.data.0.get("spec")?.get("template")?;
    serde_json::from_value(template.clone()).ok()
}

/// Finds the template among the known revisions: its place, and what must be written. The current
/// revision always has the highest number.
fn find(known: &[ControllerRevision], template: &PodTemplateSpec) -> (Option<usize>, Write) {
    let number = |revision: &ControllerRevision| revision.revision.unwrap_or_default();
    let found = known.iter().rposition(|revision| same(template, template_of(revision).as_ref()));
    let others = known.iter().enumerate().filter(|(index, _)| Some(*index) != found);
    let next = others.map(|(_, revision)| number(revision)).max().unwrap_or_default() + 1;
    match found {
        None => (None, Write::Create(next)),
        Some(index) if number(&known[index]) < next => (found, Write::Renumber(next)),
        Some(_) => (found, Write::Nothing),
    }
}

/// Brings the history of an owner up to date. `known` are the revisions it owns; `collisions` is how
/// often its hashes collided.
pub(crate) async fn keep<O: Kind>(
    objects: &Objects,
    owner: &O,
    mut known: Vec<ControllerRevision>,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
) -> Result<History, Error> {
    known.sort_by_key(|revision| revision.revision);
    let (found, write) = find(&known, template);
    let current = match (found, write) {
        (Some(index), Write::Renumber(number)) => {
            let mut revision = known.remove(index);
            revision.revision = Some(number);
            objects.replace(&revision).await?
        }
        (Some(index), _) => known.remove(index),
        (None, Write::Create(number)) => {
            let revision = snapshot(owner, template, collisions, number)?;
            create(objects, revision, template).await?
        }
        (None, _) => return Err(Error::Later("the history has no current revision".into())),
    };
    Ok(History { current, old: known })
}

async fn create(
    objects: &Objects,
    revision: ControllerRevision,
    template: &PodTemplateSpec,
) -> Result<ControllerRevision, Error> {
    match objects.create(&revision).await {
        Err(error) if is_already_exists(&error) => {
            let there: ControllerRevision = objects.get(&Key::of(&revision.metadata)).await?;
            if same(template, template_of(&there).as_ref()) {
                Ok(there)
            } else {
                Err(Error::Collision)
            }
        }
        result => Ok(result?),
    }
}

fn snapshot<O: Kind>(
    owner: &O,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    number: i64,
) -> Result<ControllerRevision, Error> {
    let hash = hash(template, collisions);
    let mut labels: Labels =
        template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let mut data = serde_json::to_value(template)
        .map_err(|error| Error::Object(format!("the pod template cannot be kept: {error}")))?;
    // What kubectl's undo applies replaces the template as a whole.
    data["$patch"] = json!("replace");
    let name = owner.meta().name.as_deref().unwrap_or_default();
    Ok(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: owner.meta().namespace.clone(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(json!({ "spec": { "template": data } })),
        revision: Some(number),
    })
}

impl History {
    /// What pods of the current revision carry as [`HASH_LABEL`].
    pub(crate) fn hash(&self) -> &str {
        self.current.labels().get(HASH_LABEL).map(String::as_str).unwrap_or_default()
    }

    /// Deletes the oldest revisions beyond the limit that are not in use.
    pub(crate) async fn trim(
        &self,
        objects: &Objects,
        limit: Option<i32>,
        in_use: impl Fn(&ControllerRevision) -> bool,
    ) -> Result<(), Error> {
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or_default();
        let unused: Vec<_> = self.old.iter().filter(|revision| !in_use(revision)).collect();
        let surplus = unused.len().saturating_sub(limit);
        for revision in &unused[..surplus] {
            let key = Key::of(&revision.metadata);
            let deleted =
                objects.delete::<ControllerRevision>(&key, &DeleteParams::default()).await;
            if let Err(error) = deleted
                && !is_not_found(&error)
            {
                return Err(error.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(image: &str, number: i64) -> ControllerRevision {
        ControllerRevision {
            data: RawExtension(json!({"spec": {"template": {
                "$patch": "replace",
                "metadata": {"creationTimestamp": null},
                "spec": {"containers": [{"name": "c", "image": image}]},
            }}})),
            revision: Some(number),
            ..ControllerRevision::default()
        }
    }

    #[test]
    fn the_template_asked_for_is_always_the_newest_revision() {
        let template: PodTemplateSpec =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "image": "b"}]}}))
                .unwrap();
        let cases = [
            (vec![], (None, Write::Create(1))),
            (vec![revision("a", 1)], (None, Write::Create(2))),
            (vec![revision("a", 1), revision("b", 2)], (Some(1), Write::Nothing)),
            (vec![revision("b", 1), revision("a", 2)], (Some(0), Write::Renumber(3))),
        ];
        for (known, expected) in cases {
            assert_eq!(find(&known, &template), expected, "{} known", known.len());
        }
    }
}
